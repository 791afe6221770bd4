//! `.cohort/`: what a gateway keeps on disk. One gateway a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where it is, from where the command runs.
pub(crate) const DIR: &str = ".cohort";

/// The folder, for as long as this gateway runs.
pub(super) struct State {
    lock: File,
}

impl State {
    /// Makes the folder if need be. `Err`: what to tell, another gateway being there.
    pub(super) fn open() -> io::Result<Self> {
        let mut dirs = fs::DirBuilder::new();
        dirs.recursive(true).mode(0o700);
        for dir in [
            DIR,
            ".cohort/xds/clusters",
            ".cohort/xds/filter",
            ".cohort/xds/routes",
        ] {
            dirs.create(dir).map_err(|error| cannot(dir, &error))?;
        }
        let mut lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path("lock"))
            .map_err(|error| cannot(DIR, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder); // only to say more
                let holder = holder.trim();
                Err(io::Error::other(format!(
                    "another gateway runs in this folder (process {holder}, {DIR}/lock): stop it, or run this one elsewhere"
                )))
            }
        }
    }

    /// Says who holds it.
    pub(super) fn sign(&mut self) -> io::Result<()> {
        self.lock.set_len(0)?;
        writeln!(self.lock, "{}", std::process::id())
    }
}

fn cannot(dir: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "cannot write to {dir}, where the gateway keeps state and logs: {error}; start it in a folder of its own"
    ))
}

/// A file in the folder.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Writes a file that only its owner reads, in one step.
pub(super) fn write(name: &str, text: &str) -> io::Result<()> {
    let next = path("next");
    let _ = fs::remove_file(&next); // of a gateway that was killed
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&next, path(name))
}

/// A log, and what was renamed to make room for it (`NAME.1`, `NAME-20261129`), as far as it is not compressed.
pub(super) fn logs(name: &str) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(DIR)? {
        let entry = entry?;
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name));
        let compressed = |rest: &str| {
            [".gz", ".zst", ".xz", ".bz2"]
                .iter()
                .any(|end| rest.ends_with(end))
        };
        if rest.is_some_and(|rest| !compressed(rest)) && entry.file_type()?.is_file() {
            files.push(File::open(entry.path())?);
        }
    }
    Ok(files)
}

/// Ends the last line of a log. An Envoy that was killed may have left half of one, and the next event would be lost in it.
pub(super) fn mend(name: &str) -> io::Result<()> {
    let opened = OpenOptions::new().read(true).append(true).open(path(name));
    let mut log = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if log.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    log.seek(io::SeekFrom::End(-1))?;
    log.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(());
    }
    log.write_all(b"\n")
}

/// The file that names Envoy's process.
pub(super) const ENVOY: &str = "envoy.pid";

/// The Envoy of a gateway that could not stop it, where the system tells of processes.
pub(super) fn left_behind() -> Option<u32> {
    let id = fs::read_to_string(path(ENVOY)).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    let lives = fs::read_link(format!("/proc/{id}/exe")).is_ok(); // nobody may have asked how it ended
    (lives && name.starts_with("envoy")).then_some(id)
}
