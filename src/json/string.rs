//! Strings: whole blocks at full speed, what they leave byte by byte, UTF-8 checked across pieces.

use super::block::plain_run;
use super::skim::{Skimmed, skim};
use super::{Fault, JsonErrorKind, Reads, Scalar, Scanner, Sink, State, Text};

/// Strings up to this length are read at once where they have no escapes.
const SHORT: usize = 63;

/// Where in a string the scanner is.
#[derive(Debug)]
pub(super) struct StringState {
    within: Within,
    /// The first half of a surrogate pair, 0 if none is open.
    high: u16,
    /// The beginning of a character that the last piece cut.
    partial: [u8; 4],
    partial_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Within {
    Plain,
    /// After a backslash.
    Escape,
    /// After `\u` and this many hex digits.
    Hex {
        digits: u8,
        value: u16,
    },
    /// After the first half of a surrogate pair.
    Second,
}

impl StringState {
    pub(super) const fn new() -> Self {
        Self {
            within: Within::Plain,
            high: 0,
            partial: [0; 4],
            partial_len: 0,
        }
    }

    /// The character that has begun cannot go on with the byte here.
    const fn cut_short(&self, used: usize) -> Fault {
        Fault {
            kind: JsonErrorKind::Utf8,
            used,
            back: self.partial_len,
        }
    }

    /// The next byte of a character that the last piece cut.
    fn go_on(&mut self, byte: u8, used: usize) -> Result<(), Fault> {
        let Some(slot) = self.partial.get_mut(self.partial_len) else {
            return Err(self.cut_short(used));
        };
        *slot = byte;
        let character = self.partial.get(..=self.partial_len).unwrap_or_default();
        match std::str::from_utf8(character) {
            Ok(_) => self.partial_len = 0,
            Err(error) if error.error_len().is_some() => return Err(self.cut_short(used)),
            Err(_) => self.partial_len = self.partial_len.saturating_add(1),
        }
        Ok(())
    }

    /// Checks a run of bytes that holds no quote and no backslash, from the beginning of a character on.
    fn check_utf8(&mut self, run: &[u8]) -> Result<(), Fault> {
        let Err(error) = std::str::from_utf8(run) else {
            return Ok(());
        };
        let cut = run.get(error.valid_up_to()..).unwrap_or_default();
        match (error.error_len(), self.partial.get_mut(..cut.len())) {
            (None, Some(partial)) => {
                partial.copy_from_slice(cut);
                self.partial_len = cut.len();
                Ok(())
            }
            _ => Err(JsonErrorKind::Utf8.after(error.valid_up_to())),
        }
    }
}

impl Scanner {
    /// Reads a string that may begin here and is all there, short and without escapes, as most are: nothing is gathered
    /// and no state is kept. `None`: it takes a closer look.
    pub(super) fn whole_string<S: Sink + ?Sized>(
        &mut self,
        rest: &[u8],
        sink: &mut S,
    ) -> Option<usize> {
        let key = match self.state {
            State::Key | State::FirstKey => true,
            State::Value | State::FirstElement => false,
            _ => return None,
        };
        let (_, inside) = rest.split_first()?;
        // What is longer is not looked at twice.
        let (run, ascii) = plain_run(inside.get(..=SHORT).unwrap_or(inside));
        if !ascii || inside.get(run.len()) != Some(&b'"') {
            return None;
        }
        let used = run.len().saturating_add(2);
        let text = Text {
            bytes: run,
            whole: true,
            len: run.len() as u64,
        };
        self.start = self.offset;
        let span = self.span_to(self.behind(used));
        if key {
            self.state = State::Colon;
            sink.key(text, span);
        } else {
            self.end_value();
            sink.piece(run);
            sink.scalar(Scalar::String(text), span);
        }
        Some(used)
    }

    /// Reads the string on, at most to its end.
    pub(super) fn string_step<S: Sink + ?Sized>(
        &mut self,
        rest: &[u8],
        key: bool,
        sink: &mut S,
    ) -> Result<usize, Fault> {
        // No pieces of a key come.
        let reads = if key { Reads::Beginning } else { sink.reads() };
        let (used, ended) = self.read_string(rest, reads, &mut |piece| sink.piece(piece))?;
        if ended {
            self.end_string(key, self.behind(used), sink);
        }
        Ok(used)
    }

    /// How much of `rest` is of the string, and whether it has ended.
    fn read_string(
        &mut self,
        rest: &[u8],
        reads: Reads,
        piece: &mut dyn FnMut(&[u8]),
    ) -> Result<(usize, bool), Fault> {
        let mut used = 0_usize;
        while let Some(&byte) = rest.get(used) {
            match self.string.within {
                Within::Plain if self.string.partial_len > 0 => {
                    self.string.go_on(byte, used)?;
                    self.say(&[byte], reads, piece);
                }
                Within::Plain => {
                    // Where one escape follows another a block is not worth it.
                    if byte != b'\\' {
                        let skimmed = self.skim(rest.get(used..).unwrap_or_default(), reads, piece);
                        used = used.saturating_add(skimmed);
                    }
                    let (run, ascii) = plain_run(rest.get(used..).unwrap_or_default());
                    if !ascii {
                        let checked = self.string.check_utf8(run);
                        checked.map_err(|fault| fault.behind(used))?;
                    }
                    self.say(run, reads, piece);
                    used = used.saturating_add(run.len());
                    let Some(&stop) = rest.get(used) else {
                        return Ok((used, false));
                    };
                    if self.string.partial_len > 0 {
                        return Err(self.string.cut_short(used));
                    }
                    match stop {
                        b'"' => return Ok((used.saturating_add(1), true)),
                        b'\\' => self.string.within = Within::Escape,
                        0 => return Err(JsonErrorKind::Nul.after(used)),
                        _ => return Err(JsonErrorKind::Control.after(used)),
                    }
                }
                Within::Escape if byte == b'u' => {
                    self.string.within = Within::Hex {
                        digits: 0,
                        value: 0,
                    }
                }
                Within::Escape if self.string.high != 0 => {
                    return Err(JsonErrorKind::LoneSurrogate.after(used));
                }
                Within::Escape => {
                    let Some(byte) = unescape(byte) else {
                        return Err(JsonErrorKind::Escape.after(used));
                    };
                    self.say(&[byte], reads, piece);
                    self.string.within = Within::Plain;
                }
                Within::Hex { digits, value } => {
                    let digit = char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u16::try_from(digit).ok());
                    let Some(digit) = digit else {
                        return Err(JsonErrorKind::Escape.after(used));
                    };
                    let value = (value << 4) | digit;
                    if digits < 3 {
                        self.string.within = Within::Hex {
                            digits: digits.saturating_add(1),
                            value,
                        };
                    } else {
                        let ended = self.end_unicode_escape(value);
                        let character = ended.map_err(|fault| fault.behind(used))?;
                        if let Some(character) = character {
                            let mut text = [0; 4];
                            let text = character.encode_utf8(&mut text);
                            self.say(text.as_bytes(), reads, piece);
                        }
                    }
                }
                Within::Second if byte == b'\\' => self.string.within = Within::Escape,
                Within::Second => return Err(JsonErrorKind::LoneSurrogate.after(used)),
            }
            used = used.saturating_add(1);
        }
        Ok((used, false))
    }

    /// Takes what whole blocks have that needs no closer look.
    fn skim(&mut self, bytes: &[u8], reads: Reads, piece: &mut dyn FnMut(&[u8])) -> usize {
        let unread = match reads {
            Reads::All => false,
            Reads::Beginning => self.token.is_full(),
            Reads::Length => true,
        };
        let Skimmed { used, less } = skim(bytes, unread);
        let mut text = bytes.get(..used).unwrap_or_default();
        if unread {
            self.token.skip(used.saturating_sub(less));
        } else if less == 0 {
            self.say(text, reads, piece);
        } else {
            while !text.is_empty() {
                let (run, _) = plain_run(text);
                self.say(run, reads, piece);
                text = text.get(run.len()..).unwrap_or_default();
                if let [_, escape, behind @ ..] = text {
                    let escape = unescape(*escape).unwrap_or_default();
                    self.say(&[escape], reads, piece);
                    text = behind;
                }
            }
        }
        used
    }

    /// Takes a piece of what the string says.
    fn say(&mut self, text: &[u8], reads: Reads, piece: &mut dyn FnMut(&[u8])) {
        if reads == Reads::Length {
            self.token.skip(text.len());
        } else {
            self.token.push(text);
        }
        if reads == Reads::All {
            piece(text);
        }
    }

    /// The character, unless it is the first half of one.
    fn end_unicode_escape(&mut self, value: u16) -> Result<Option<char>, Fault> {
        let high = std::mem::take(&mut self.string.high);
        if high == 0 && (0xD800..0xDC00).contains(&value) {
            self.string.high = value;
            self.string.within = Within::Second;
            return Ok(None);
        }
        let decoded = if high == 0 {
            char::from_u32(u32::from(value))
        } else {
            char::decode_utf16([high, value])
                .next()
                .and_then(Result::ok)
        };
        let character = decoded.ok_or(Fault::here(JsonErrorKind::LoneSurrogate))?;
        self.string.within = Within::Plain;
        Ok(Some(character))
    }

    fn end_string<S: Sink + ?Sized>(&mut self, key: bool, end: u64, sink: &mut S) {
        let span = self.span_to(end);
        if key {
            self.state = State::Colon;
            sink.key(self.token.text(), span);
        } else {
            self.end_value();
            sink.scalar(Scalar::String(self.token.text()), span);
        }
    }
}

/// Where a string ends whose opening quote is behind, and the length of what it says; `None` where it does not end, or
/// has what takes a closer look: Unicode escapes, and whatever is wrong.
pub fn simple_string(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = bytes;
    let mut len = 0_u64;
    loop {
        let (run, ascii) = plain_run(rest);
        if !ascii && std::str::from_utf8(run).is_err() {
            return None;
        }
        len = len.saturating_add(run.len() as u64);
        rest = rest.get(run.len()..)?;
        match rest {
            [b'"', ..] => return Some((bytes.len().checked_sub(rest.len())?, len)),
            [b'\\', escape, tail @ ..] if unescape(*escape).is_some() => {
                len = len.saturating_add(1);
                rest = tail;
            }
            _ => return None,
        }
    }
}

/// What a string says that the scanner has accepted, given as it stands in the document, quotes included. For strings
/// that are longer than what a sink is shown.
pub(super) fn unescaped(quoted: &str) -> String {
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.unwrap_or_default();
    let mut text = String::with_capacity(inner.len());
    let mut high = 0;
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match (char, chars.as_str().chars().next()) {
            ('\\', Some('u')) => {
                let digits = chars.by_ref().skip(1).take(4);
                let unit = digits.fold(0, |unit, digit| {
                    (unit << 4) | digit.to_digit(16).unwrap_or_default()
                });
                match unit {
                    0xD800..0xDC00 => high = unit & 0x3FF,
                    0xDC00..0xE000 => {
                        let pair = (high << 10) | (unit & 0x3FF);
                        text.extend(char::from_u32(pair.wrapping_add(0x1_0000)));
                    }
                    _ => text.extend(char::from_u32(unit)),
                }
            }
            ('\\', Some(escape)) => {
                chars.next();
                text.extend(u8::try_from(escape).ok().and_then(unescape).map(char::from));
            }
            _ => text.push(char),
        }
    }
    text
}

const fn unescape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(0x08),
        b'f' => Some(0x0C),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}
