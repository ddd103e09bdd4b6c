//! A small file system of its own, which can be filled without harm to anything else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A file system of a fixed size, in memory. It goes with the value.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Makes one of `megabytes`.
    ///
    /// # Panics
    /// Without the right to mount: root's, or that of a `sudo` which does not ask.
    #[must_use]
    pub fn new(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let size = format!("size={megabytes}m");
        let mount = ["mount", "-t", "tmpfs", "-o", &size, "tmpfs"];
        assert!(
            as_root(&mount, folder.path()),
            "no small file system can be mounted: that needs root, or sudo without a password"
        );
        Self(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes so many kilobytes, until the file is removed that is named.
    ///
    /// # Panics
    /// When there is no room for them.
    #[must_use]
    pub fn ballast(&self, kilobytes: usize) -> PathBuf {
        let ballast = self.path().join("ballast");
        std::fs::write(&ballast, vec![0; kilobytes * 1024]).expect("there is room");
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = as_root(&["umount", "-l"], self.path());
        assert!(
            unmounted || std::thread::panicking(),
            "cannot unmount {}",
            self.path().display()
        );
    }
}

/// Whether `command FOLDER` succeeds, as it is or with `sudo`.
fn as_root(command: &[&str], folder: &Path) -> bool {
    let run = |words: &[&str]| {
        let output = Command::new(words[0])
            .args(&words[1..])
            .arg(folder)
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    run(command) || run(&[&["sudo", "--non-interactive"], command].concat())
}
