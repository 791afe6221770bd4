//! A file that grows, is cut, or is replaced by another of its name.

use super::super::log::LONGEST_LINE;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(200);
const BLOCK: u64 = 1024 * 1024;

/// What comes to a file after a position in it.
pub(super) struct Follow<'a> {
    path: &'a Path,
    file: Option<File>,
    position: u64,
    /// The beginning of a line that is still being written.
    unfinished: Vec<u8>,
}

impl<'a> Follow<'a> {
    pub(super) const fn new(path: &'a Path, file: Option<File>, position: u64) -> Self {
        Self {
            path,
            file,
            position,
            unfinished: Vec::new(),
        }
    }

    /// The next whole lines, once there are any.
    pub(super) fn wait(&mut self) -> io::Result<Vec<Vec<u8>>> {
        loop {
            let block = self.read()?;
            if block.is_empty() {
                if !self.reopen()? {
                    sleep(PAUSE);
                }
                continue;
            }
            self.unfinished.extend_from_slice(&block);
            let Some(feed) = memchr::memrchr(b'\n', &self.unfinished) else {
                if self.unfinished.len() > LONGEST_LINE {
                    self.unfinished.clear(); // what is left of it is no event either
                }
                continue;
            };
            let rest = self.unfinished.split_off(feed.saturating_add(1));
            let lines = std::mem::replace(&mut self.unfinished, rest);
            return Ok(lines
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect());
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut block = Vec::new();
        let Some(file) = &mut self.file else {
            return Ok(block);
        };
        if file.metadata()?.len() < self.position {
            self.position = 0;
            self.unfinished.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.take(BLOCK).read_to_end(&mut block)?;
        self.position = self.position.saturating_add(read as u64);
        Ok(block)
    }

    /// Goes over to another file of the same name, once the old one is read to its end.
    fn reopen(&mut self) -> io::Result<bool> {
        let new = match File::open(self.path) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if let Some(old) = &self.file {
            let (old, new) = (old.metadata()?, new.metadata()?);
            if (old.dev(), old.ino()) == (new.dev(), new.ino()) {
                return Ok(false);
            }
        }
        self.file = Some(new);
        self.position = 0;
        self.unfinished.clear();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("cohort-follow-{}-{name}", std::process::id()));
            fs::write(&path, "old\n").unwrap();
            Self(path)
        }

        fn append(&self, text: &str) {
            fs::OpenOptions::new()
                .append(true)
                .open(&self.0)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        }

        fn follow(&self) -> Follow<'_> {
            Follow::new(&self.0, Some(File::open(&self.0).unwrap()), 4)
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn next(follow: &mut Follow<'_>) -> Vec<String> {
        let lines = follow
            .wait()
            .unwrap()
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap());
        lines.filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn a_line_counts_once_it_is_whole() {
        let log = Log::new("whole");
        let mut follow = log.follow();
        log.append("one\ntw");
        assert_eq!(next(&mut follow), ["one"]);
        log.append("o\nthree\n");
        assert_eq!(next(&mut follow), ["two", "three"]);
    }

    #[test]
    fn a_file_that_is_cut_is_read_from_its_beginning() {
        let log = Log::new("cut");
        let mut follow = log.follow();
        log.append("one\n");
        assert_eq!(next(&mut follow), ["one"]);
        fs::write(&log.0, "two\n").unwrap();
        assert_eq!(next(&mut follow), ["two"]);
    }

    #[test]
    fn a_file_that_is_replaced_is_read_to_its_end_and_then_the_new_one() {
        let log = Log::new("replaced");
        let mut follow = log.follow();
        log.append("one\n");
        let aside = log.0.with_extension("1");
        fs::rename(&log.0, &aside).unwrap();
        fs::write(&log.0, "two\n").unwrap();
        assert_eq!(next(&mut follow), ["one"]);
        assert_eq!(next(&mut follow), ["two"]);
        fs::remove_file(aside).unwrap();
    }
}
