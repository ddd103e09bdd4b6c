//! Makes sure that the folder of the built pages is there, because it is embedded at compile
//! time. Where the pages were not built it stays empty, and the server says so.

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    fs::create_dir_all(&dist)?;
    println!("cargo::rerun-if-changed={}", dist.display());
    Ok(())
}
