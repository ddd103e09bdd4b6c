//! Uniform draws from a ChaCha20 keystream: the only randomness of a split.
//!
//! The draws are our own, so that no library's change can move an amount; the library only
//! gives the keystream, which RFC 8439 fixes. Nothing here may change once amounts were made
//! with it: see [`crate::split::ALGORITHM`].

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _},
};

/// So many bytes of keystream are made at a time: enough for the cipher to work on several
/// blocks at once, and not too many for ten packets.
const BUFFER_BYTES: usize = 1024;

/// The keystream of one key and nonce, block counter from 0, and the draws made from it.
pub(crate) struct Keystream {
    cipher: ChaCha20,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl Keystream {
    pub(crate) fn new(key: &[u8; 32], nonce: &[u8; 12]) -> Self {
        Self {
            cipher: ChaCha20::new(key.into(), nonce.into()),
            buffer: [0; BUFFER_BYTES],
            used: BUFFER_BYTES,
        }
    }

    /// The next 8 bytes as a little-endian number. One key and nonce give 256 GiB, over a
    /// thousand times what the largest tranche can use.
    fn next(&mut self) -> u64 {
        if self.used == BUFFER_BYTES {
            self.buffer.fill(0);
            self.cipher.apply_keystream(&mut self.buffer);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.buffer[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A number from `low` to `high`, both included, each equally likely; the range holds fewer
    /// than 2⁶⁴ numbers.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "the bounds of a draw must not cross");
        let span = high - low + 1;
        // Numbers in the incomplete last run of `span` would favour the small remainders.
        let incomplete = span.wrapping_neg() % span;
        loop {
            let drawn = self.next();
            if drawn <= u64::MAX - incomplete {
                return low + drawn % span;
            }
        }
    }

    /// Puts `items` into an order each of which is equally likely.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let last = u64::try_from(i).unwrap_or(u64::MAX);
            let j = self.between(0, last);
            items.swap(i, usize::try_from(j).unwrap_or(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(key: &[u8; 32], nonce: &[u8; 12], counter: usize) -> String {
        let mut stream = Keystream::new(key, nonce);
        for _ in 0..counter * 8 {
            stream.next();
        }
        (0..8)
            .flat_map(|_| stream.next().to_le_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// RFC 8439, section 2.3.2 and appendix A.1, test vectors 1 and 2.
    #[test]
    fn is_the_published_keystream() {
        let key = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        assert_eq!(
            block(&key, &nonce, 1),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
        );
        assert_eq!(
            block(&[0; 32], &[0; 12], 0),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        );
        assert_eq!(
            block(&[0; 32], &[0; 12], 1),
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        );
    }

    #[test]
    fn the_buffer_has_no_seam() {
        let mut stream = Keystream::new(&[7; 32], &[1; 12]);
        let drawn: Vec<u8> = (0..BUFFER_BYTES / 8 * 3)
            .flat_map(|_| stream.next().to_le_bytes())
            .collect();
        let mut whole = vec![0; BUFFER_BYTES * 3];
        ChaCha20::new(&[7; 32].into(), &[1; 12].into()).apply_keystream(&mut whole);
        assert_eq!(drawn, whole);
    }

    #[test]
    fn a_draw_rejects_the_incomplete_last_run() {
        // Three quarters of 2⁶⁴ leave an incomplete run of a quarter, so about every fourth
        // number is passed over. Folding it in would favour the lowest third twofold.
        let span = 3 << 62;
        let mut stream = Keystream::new(&[3; 32], &[0; 12]);
        let low = (0..10_000)
            .filter(|_| stream.between(0, span - 1) < 1 << 62)
            .count();
        assert!((3_100..3_570).contains(&low), "{low} of 10000");
    }
}
