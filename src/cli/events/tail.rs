//! The lines of a file, last one first.

use super::super::log::LONGEST_LINE;
use std::io::{self, Read, Seek, SeekFrom};

const BLOCK: usize = 64 * 1024;

/// Reads backwards, block by block.
pub(super) struct LinesFromEnd<'a, F> {
    file: &'a mut F,
    length: u64,
    /// Bytes of the file before `buffer`.
    before: u64,
    /// Read, and not given out yet.
    buffer: Vec<u8>,
    /// The line at the end of `buffer` lost its end for being too long.
    overlong: bool,
    done: bool,
}

impl<'a, F: Read + Seek> LinesFromEnd<'a, F> {
    pub(super) fn new(file: &'a mut F) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            length,
            before: length,
            buffer: Vec::new(),
            overlong: false,
            done: false,
        })
    }

    /// Of the file, when reading began.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The line before the last one given; the first is what follows the file's last line feed.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while !self.done {
            if let Some(feed) = memchr::memrchr(b'\n', &self.buffer) {
                let line = self.buffer.split_off(feed.saturating_add(1));
                self.buffer.pop();
                if !std::mem::take(&mut self.overlong) {
                    return Ok(Some(line));
                }
            } else if self.before == 0 {
                self.done = true;
                let line = std::mem::take(&mut self.buffer);
                return Ok(Some(line).filter(|_| !self.overlong));
            } else {
                if self.buffer.len() > LONGEST_LINE {
                    self.buffer.clear();
                    self.overlong = true;
                }
                self.read_block()?;
            }
        }
        Ok(None)
    }

    fn read_block(&mut self) -> io::Result<()> {
        let size = BLOCK.min(usize::try_from(self.before).unwrap_or(BLOCK));
        self.before = self.before.saturating_sub(size as u64);
        let mut block = vec![0; size];
        self.file.seek(SeekFrom::Start(self.before))?;
        self.file.read_exact(&mut block)?;
        block.append(&mut self.buffer);
        self.buffer = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn backwards(text: &[u8]) -> Vec<Vec<u8>> {
        let mut file = Cursor::new(text);
        let mut lines = LinesFromEnd::new(&mut file).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(line);
        }
        found
    }

    #[test]
    fn every_line_comes_once_wherever_blocks_end() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let text = ["one", &"x".repeat(length), "", "two\r", "three"].join("\n");
            for text in [text.clone(), text + "\n"] {
                let mut expected: Vec<_> = text
                    .split('\n')
                    .map(|line| line.as_bytes().to_vec())
                    .collect();
                expected.reverse();
                assert!(backwards(text.as_bytes()) == expected, "{length}");
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let endless = "x".repeat(LONGEST_LINE * 3);
        let text = format!("one\n{endless}\ntwo\n");
        assert_eq!(backwards(text.as_bytes()), [&b""[..], b"two", b"one"]);
        let mut file = Cursor::new(endless.as_bytes());
        let mut lines = LinesFromEnd::new(&mut file).unwrap();
        while lines.next().unwrap().is_some() {
            assert!(lines.buffer.len() <= LONGEST_LINE + BLOCK);
        }
    }
}
