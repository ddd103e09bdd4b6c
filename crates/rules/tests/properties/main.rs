//! Properties of the rules over their whole input range, and the frozen vectors that no later
//! version may move.
//!
//! A failing property prints the smallest input it found, and keeps its seed in a file beside
//! the sources, which belongs in the commit that mends it.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod admission;
mod books;
mod checks;
mod fairness;
mod ids;
mod outcomes;
mod schedule;
mod split;
mod terms;
mod vectors;
