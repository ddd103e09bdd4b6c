//! A certificate for servers on 127.0.0.1, and the authority that vouches for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Files of one certificate, made anew. Dropping it removes them.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes an authority, and a certificate of it for `127.0.0.1` and `localhost`.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let made = "keys and certificates without unusual wishes can be made";
        let mut authority = CertificateParams::new([]).expect(made);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let its_key = KeyPair::generate().expect(made);
        let its_own = authority.self_signed(&its_key).expect(made);
        let authority = Issuer::new(authority, its_key);
        let key = KeyPair::generate().expect(made);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).expect(made);
        let server = server.signed_by(&key, &authority).expect(made);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let certificate = Self { folder };
        for (path, text) in [
            (certificate.authority(), its_own.pem()),
            (certificate.server(), server.pem()),
            (certificate.key(), key.serialize_pem()),
        ] {
            fs::write(path, text).expect("a temporary folder can be written to");
        }
        certificate
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whom clients have to trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// The server's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
