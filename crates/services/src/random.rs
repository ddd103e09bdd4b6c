//! Randomness as a parameter: seeds, ids and tokens are drawn from it.
//!
//! Production must hand in [`SystemRandom`] and nothing else: a campaign's seed is a secret that
//! is worth its budget.

use std::cell::RefCell;

/// Where random bytes come from.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator, through the cryptographic library.
pub struct SystemRandom;

/// What a thread draws at once: a draw costs the same whether it is 10 bytes or these.
const POOL_BYTES: usize = 512;

/// Bytes drawn and not given out yet: the first `left` of them.
struct Pool {
    bytes: [u8; POOL_BYTES],
    left: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool { bytes: [0; POOL_BYTES], left: 0 })
    };
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > POOL_BYTES {
            return draw_from_system(bytes);
        }
        POOL.with_borrow_mut(|pool| {
            if pool.left < bytes.len() {
                draw_from_system(&mut pool.bytes);
                pool.left = POOL_BYTES;
            }
            let from = pool.left - bytes.len();
            let given = &mut pool.bytes[from..pool.left];
            bytes.copy_from_slice(given);
            // Nothing that may have become a secret is kept, nor ever given out twice.
            given.fill(0);
            pool.left = from;
        });
    }
}

fn draw_from_system(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes)
        .expect("the system's generator of randomness must work: nothing is safe without it");
}

/// `N` bytes from `random`.
pub(crate) fn draw<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_given_out_twice() {
        let mut seen = HashSet::new();
        for length in [8, 10, 16, 32, 500, 512, 513, 2_000].repeat(100) {
            let mut bytes = vec![0; length];
            SystemRandom.fill(&mut bytes);
            for part in bytes.chunks_exact(8) {
                assert!(seen.insert(part.to_vec()), "{part:x?}");
            }
        }
    }
}
