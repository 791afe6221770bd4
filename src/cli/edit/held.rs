//! A file that is read, and replaced, while no other command does the same.

use super::super::{Failure, NO_POLICY, document};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Others wait until it is dropped.
pub(super) struct Held {
    /// A link stays one: what it leads to is replaced.
    target: PathBuf,
    name: String,
    pub(super) text: String,
    _lock: File,
}

impl Held {
    pub(super) fn open(path: &Path, name: &str) -> Result<Self, Failure> {
        let cannot = |error| Failure::reading(path, &error, NO_POLICY);
        let target = fs::canonicalize(path).map_err(cannot)?;
        let lock = lock(&target).map_err(cannot)?;
        Ok(Self {
            text: read(&target, name)?,
            target,
            name: name.to_owned(),
            _lock: lock,
        })
    }

    /// In one step: a reader sees the old file or the new one. What has to be done before anyone does is done `before`.
    pub(super) fn replace(
        &self,
        text: &str,
        before: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Editors know nothing of locks.
        if read(&self.target, &self.name)? != self.text {
            return Err(Failure(format!(
                "{} was changed meanwhile; nothing was written",
                self.name
            )));
        }
        let mut next = self.target.as_os_str().to_owned();
        next.push(format!(".{}", std::process::id()));
        let next = PathBuf::from(next);
        let fail = |error| Failure(format!("cannot write {}: {error}", self.name));
        let written = write_like(&self.target, &next, text)
            .map_err(fail)
            .and_then(|()| before())
            .and_then(|()| fs::rename(&next, &self.target).map_err(fail));
        if written.is_err() {
            let _ = fs::remove_file(&next); // it may not be there
        }
        written
    }
}

/// Whoever replaces the file leaves those who waited with the old one's lock: they try the new one's.
fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..TRIES {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let (held, there) = (file.metadata()?, fs::metadata(path)?);
                if (held.dev(), held.ino()) == (there.dev(), there.ino()) {
                    return Ok(file);
                }
            }
            Err(TryLockError::Error(_)) => return Ok(file), // not every file system has locks
            Err(TryLockError::WouldBlock) => sleep(PAUSE),
        }
    }
    Err(io::Error::other(
        "another program holds a lock on it; a `flock` around this command is not needed",
    ))
}

/// Commands are done with a file in no time: five seconds are enough for many.
const TRIES: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Another file of the same owner and mode: a gateway that could read the old one can read it.
fn write_like(old: &Path, new: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(old)?;
    let mut file = File::create_new(new)?;
    let mode = old.permissions().mode();
    if fchown(&file, Some(old.uid()), Some(old.gid())).is_err() && mode & 0o004 == 0 {
        return Err(io::Error::other(
            "its owner and group cannot be kept: do it as the file's owner, or as root",
        ));
    }
    file.set_permissions(old.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path, name: &str) -> Result<String, Failure> {
    document::text(path).map_err(|error| Failure(format!("cannot read {name}: {error}")))
}
