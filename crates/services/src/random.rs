//! Randomness as a parameter: seeds, ids and tokens are drawn from it.
//!
//! Production must hand in [`SystemRandom`] and nothing else: a campaign's seed is a secret that
//! is worth its budget.

/// Where random bytes come from.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator, through the cryptographic library.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes)
            .expect("the system's generator of randomness must work: nothing is safe without it");
    }
}

/// `N` bytes from `random`.
pub(crate) fn draw<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}
