//! Identification codes: what a participant proves who they are with.
//!
//! A code is a secret. It is never logged, listed, exported or stored; only keyed hashes of it
//! leave this file, and without the key neither a code nor whether a guess is right follows
//! from them. The key comes from the token secret, so who changes that secret gives every
//! participant another identity, and imported codes must be imported again.

use aws_lc_rs::hmac;
use rules::{UserId, ids::NameRefusal};

/// How many base32 digits of the hash make an anonymous participant's id: 80 bits.
const ID_DIGITS: usize = 16;
/// Lower-case base32 without digits that look like letters.
const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// An identification code in normal form. `Debug` and errors never show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(secret)")
    }
}

impl Code {
    /// The code that `text` stands for: NFC, trimmed, 1 to 64 characters, none of control.
    ///
    /// # Errors
    /// Which of these does not hold.
    pub fn new(text: &str) -> Result<Self, NameRefusal> {
        rules::ids::normal_name(text).map(Self)
    }
}

/// Makes what is kept and shown of codes.
#[derive(Clone)]
pub struct Codes {
    key: hmac::Key,
}

impl Codes {
    /// Hashes keyed from the token secret.
    #[must_use]
    pub fn new(token_secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, token_secret);
        let key = hmac::sign(&secret, b"hongbao identification codes, version 1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
        }
    }

    /// What the ledger keeps of a registered participant's code.
    #[must_use]
    pub fn code_hash(&self, code: &Code) -> [u8; 32] {
        self.hash(b"registered", code)
    }

    /// The public id of who presents `code` where anyone may take part, such as
    /// `u-k7m2xw5q9c3vbnha`.
    #[must_use]
    pub fn anonymous_user(&self, code: &Code) -> UserId {
        let hash = self.hash(b"anyone", code);
        let mut id = String::from("u-");
        // Five bytes make eight digits.
        for group in hash[..ID_DIGITS * 5 / 8].chunks_exact(5) {
            let bits = group
                .iter()
                .fold(0_u64, |bits, &b| bits << 8 | u64::from(b));
            for place in (0..8).rev() {
                let digit = DIGITS[(bits >> (place * 5) & 31) as usize];
                id.push(char::from(digit));
            }
        }
        UserId::trusted(&id)
    }

    fn hash(&self, label: &[u8], code: &Code) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(label);
        // No label and no code contains a zero byte, so no two inputs meet.
        context.update(&[0]);
        context.update(code.0.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        Code::new(text).unwrap()
    }

    #[test]
    fn the_same_code_is_the_same_person_however_it_is_typed() {
        let codes = Codes::new(&[7; 32]);
        let composed = codes.anonymous_user(&code("Zo\u{e9}"));
        assert_eq!(composed, codes.anonymous_user(&code("  Zoe\u{301} ")));
        assert_ne!(composed, codes.anonymous_user(&code("zo\u{e9}")));
        assert_eq!(composed.as_str().len(), 2 + ID_DIGITS);
        assert!(UserId::new(composed.as_str()).is_ok());
    }

    #[test]
    fn hashes_stay_what_they_are_because_the_ledger_keeps_them() {
        let codes = Codes::new(b"a secret of at least thirty-two bytes");
        insta::assert_snapshot!(codes.anonymous_user(&code("13800000000")), @"u-k34ad8e2bukk4czx");
        insta::assert_snapshot!(hex::encode(codes.code_hash(&code("13800000000"))), @"db951bcd9fdd8c371c82a45dfc4d7bd0ba783846c7fafb12a5b7d8eff3b1fa41");
    }

    #[test]
    fn another_secret_means_other_hashes() {
        let (ours, theirs) = (Codes::new(&[7; 32]), Codes::new(&[8; 32]));
        let code = code("1");
        assert_ne!(ours.code_hash(&code), theirs.code_hash(&code));
        assert_ne!(ours.anonymous_user(&code), theirs.anonymous_user(&code));
    }

    #[test]
    fn a_code_is_never_printed() {
        assert_eq!(format!("{:?}", code("13800000000")), "Code(secret)");
    }
}
