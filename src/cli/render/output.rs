//! Where what was rendered goes.

use super::super::{Failure, print};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// To stdout, or into a file in one step: who watches it sees the old one or the new one.
pub(super) fn write(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(path) = path else {
        print(|out| out.write_all(text.as_bytes()))?;
        return Ok(());
    };
    let mut next = path.as_os_str().to_owned();
    next.push(format!(".{}", std::process::id()));
    let next = PathBuf::from(next);
    let written = (|| {
        let mut file = fs::File::create_new(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, path)
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&next); // it may not be there
        Failure(format!("cannot write {}: {error}", path.display()))
    })
}
