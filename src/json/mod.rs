//! JSON: an incremental scanner, bytes in and tokens out, without recursion, in memory that does not grow with the
//! document; and a writer.
//!
//! The scanner validates the whole document as RFC 8259 has it, and refuses what parsers are known to read differently:
//! a byte order mark, NUL, anything but strict UTF-8, lone surrogate escapes, nesting that `serde_json` refuses,
//! numbers outside a double. What it accepts, every parser accepts; a property test holds it to `serde_json`.
//! It does not know what the tokens mean; `path` finds the wanted ones.

mod block;
mod edit;
mod error;
mod lanes;
mod number;
mod path;
mod sink;
mod skim;
mod string;
#[cfg(test)]
mod tests;
mod token;
mod utf8;
mod write;

pub use self::block::line_end;
pub use self::edit::edited;
use self::error::Fault;
pub use self::error::{JsonError, JsonErrorKind};
use self::number::Number;
pub use self::number::decimal;
pub use self::path::{KeyMatch, PathMatcher, Patterns};
pub(crate) use self::path::{MAX_KEY, fold};
pub use self::sink::{Reads, Sink};
use self::string::StringState;
pub use self::string::simple_string;
pub use self::token::{Container, Scalar, Span, Text};
use self::token::{Literal, Token};
pub use self::write::{Writer, push_decimal};

/// At most this many bytes of a string, key or number reach the [`Sink`].
pub const CAPTURE: usize = 512;

/// Containers that may be open at once. `serde_json` refuses the 128th; with the value inside that makes 128 levels.
pub const MAX_DEPTH: usize = 127;

/// The scanner's state between two pieces of a document.
#[derive(Debug)]
pub struct Scanner {
    /// Bytes consumed so far.
    offset: u64,
    state: State,
    /// One bit for each open container, the innermost lowest: set for an object.
    objects: [u64; 2],
    depth: usize,
    /// Where the token being read began.
    start: u64,
    token: Token,
    string: StringState,
    number: Number,
}

impl Scanner {
    /// At the beginning of a document.
    pub const fn new() -> Self {
        Self {
            offset: 0,
            state: State::Value,
            objects: [0; 2],
            depth: 0,
            start: 0,
            token: Token::new(),
            string: StringState::new(),
            number: Number::new(),
        }
    }

    /// Goes back to the beginning, of another document.
    pub fn restart(&mut self) {
        self.offset = 0;
        self.state = State::Value;
        self.objects = [0; 2];
        self.depth = 0;
        self.start = 0;
        self.token.clear();
        self.string = StringState::new();
        self.number = Number::new();
    }

    /// Goes from the beginning to the end of a document of that length, of which it is known that it has ended.
    pub fn skip_to_end(&mut self, len: u64) {
        self.offset = len;
        self.state = State::Done;
    }

    /// Bytes consumed so far.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Containers open now.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// What has come of a string value that goes on: bytes, escapes as they stand.
    pub const fn open_string(&self) -> u64 {
        match self.state {
            // But for the quote.
            State::String { key: false } => {
                self.offset.saturating_sub(self.start).saturating_sub(1)
            }
            _ => 0,
        }
    }

    /// Whether the document's value has ended; only whitespace may follow.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads the next piece. Cutting the document elsewhere does not change what the sink sees.
    /// After an error the scanner stays at it.
    pub fn push<S: Sink + ?Sized>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), JsonError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.step(rest, sink) {
                Ok(used) => {
                    self.offset = self.behind(used);
                    let Some(behind) = rest.get(used..) else {
                        break;
                    };
                    rest = behind;
                }
                Err(fault) => return Err(self.fail(fault)),
            }
        }
        Ok(())
    }

    /// The input has ended: the document must be complete.
    pub fn finish<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<(), JsonError> {
        if matches!(self.state, State::Number) && self.depth == 0 {
            self.end_number(sink).map_err(|fault| self.fail(fault))?;
        }
        match self.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(self.fail(Fault::here(JsonErrorKind::Incomplete))),
        }
    }

    /// Consumes a part of `rest`, at least one byte unless the state changes.
    fn step<S: Sink + ?Sized>(&mut self, rest: &[u8], sink: &mut S) -> Result<usize, Fault> {
        let Some(&byte) = rest.first() else {
            return Ok(0);
        };
        match self.state {
            State::String { key } => self.string_step(rest, key, sink),
            State::Number => {
                for (used, &byte) in rest.iter().enumerate() {
                    if !self.number.accept(byte).map_err(|kind| kind.after(used))? {
                        self.token.push(rest.get(..used).unwrap_or_default());
                        self.end_number(sink)
                            .map_err(|fault| fault.kind.after(used))?;
                        return Ok(used);
                    }
                }
                self.token.push(rest);
                Ok(rest.len())
            }
            State::Literal { literal, matched } => {
                let wanted = literal.text().get(matched..).unwrap_or_default();
                let same = rest.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                if same == wanted.len() {
                    let span = self.span_to(self.behind(same));
                    self.end_value();
                    sink.scalar(literal.scalar(), span);
                } else if same == rest.len() {
                    let matched = matched.saturating_add(same);
                    self.state = State::Literal { literal, matched };
                } else {
                    return Err(JsonErrorKind::Syntax.after(same));
                }
                Ok(same)
            }
            State::Failed(error) => Err(Fault::here(error.kind)),
            _ if byte == b'"' => match self.whole_string(rest, sink) {
                Some(used) => Ok(self.parted(rest, used)),
                None => self.structure_step(rest, byte, sink),
            },
            _ if is_space(byte) => Ok(rest
                .iter()
                .position(|byte| !is_space(*byte))
                .unwrap_or(rest.len())),
            _ => {
                let used = self.structure_step(rest, byte, sink)?;
                Ok(self.parted(rest, used))
            }
        }
    }

    /// Goes over what parts a key from its value, or a value from what comes next, where that follows at once, as it does
    /// in most documents.
    fn parted(&mut self, rest: &[u8], used: usize) -> usize {
        self.state = match (self.state, rest.get(used)) {
            (State::After, Some(b',')) if self.in_object() => State::Key,
            (State::Colon, Some(b':')) | (State::After, Some(b',')) => State::Value,
            _ => return used,
        };
        used.saturating_add(1)
    }

    /// A byte that is not whitespace, outside strings, numbers and literals.
    fn structure_step<S: Sink + ?Sized>(
        &mut self,
        rest: &[u8],
        byte: u8,
        sink: &mut S,
    ) -> Result<usize, Fault> {
        match self.state {
            State::Value | State::FirstElement => match byte {
                b'"' => self.begin_string(false),
                b'{' => self.open(Container::Object, sink)?,
                b'[' => self.open(Container::Array, sink)?,
                b']' if matches!(self.state, State::FirstElement) => self.close(sink),
                b'-' | b'0'..=b'9' => {
                    if let Some(number) = number::simple(rest) {
                        let len = number.len();
                        let text = Text {
                            bytes: number,
                            whole: true,
                            len: len as u64,
                        };
                        return Ok(self.whole_scalar(Scalar::Number(text), len, sink));
                    }
                    self.begin_token();
                    self.number = Number::new();
                    self.state = State::Number;
                    return Ok(0);
                }
                b't' | b'f' | b'n' => {
                    let literal = Literal::beginning_with(byte);
                    if rest.starts_with(literal.text()) {
                        let len = literal.text().len();
                        return Ok(self.whole_scalar(literal.scalar(), len, sink));
                    }
                    self.begin_literal(literal);
                }
                _ => return Err(self.unexpected(byte)),
            },
            State::Key | State::FirstKey => match byte {
                b'"' => self.begin_string(true),
                b'}' if matches!(self.state, State::FirstKey) => self.close(sink),
                _ => return Err(self.unexpected(byte)),
            },
            State::After => match (byte, self.in_object()) {
                (b',', true) => self.state = State::Key,
                (b',', false) => self.state = State::Value,
                (b'}', true) | (b']', false) => self.close(sink),
                _ => return Err(self.unexpected(byte)),
            },
            State::Colon if byte == b':' => self.state = State::Value,
            _ => return Err(self.unexpected(byte)),
        }
        Ok(1)
    }

    /// A value that begins here and is all there.
    fn whole_scalar<S: Sink + ?Sized>(
        &mut self,
        value: Scalar<'_>,
        len: usize,
        sink: &mut S,
    ) -> usize {
        self.start = self.offset;
        let span = self.span_to(self.behind(len));
        self.end_value();
        sink.scalar(value, span);
        len
    }

    fn begin_token(&mut self) {
        self.start = self.offset;
        self.token.clear();
    }

    fn begin_string(&mut self, key: bool) {
        self.begin_token();
        self.state = State::String { key };
    }

    fn begin_literal(&mut self, literal: Literal) {
        self.start = self.offset;
        self.state = State::Literal {
            literal,
            matched: 1,
        };
    }

    fn open<S: Sink + ?Sized>(&mut self, container: Container, sink: &mut S) -> Result<(), Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::here(JsonErrorKind::TooDeep));
        }
        self.depth = self.depth.saturating_add(1);
        let [low, high] = self.objects;
        let is_object = u64::from(container == Container::Object);
        self.objects = [low << 1 | is_object, high << 1 | low >> 63];
        self.state = match container {
            Container::Array => State::FirstElement,
            Container::Object => State::FirstKey,
        };
        sink.open(container, self.offset);
        Ok(())
    }

    /// Of the innermost container, which the caller has checked to be of the right kind.
    fn close<S: Sink + ?Sized>(&mut self, sink: &mut S) {
        let container = if self.in_object() {
            Container::Object
        } else {
            Container::Array
        };
        self.depth = self.depth.saturating_sub(1);
        let [low, high] = self.objects;
        self.objects = [low >> 1 | high << 63, high >> 1];
        self.end_value();
        sink.close(container, self.offset);
    }

    fn end_value(&mut self) {
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::After
        };
    }

    fn end_number<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<(), Fault> {
        self.number.finish(&self.token).map_err(Fault::here)?;
        self.end_value();
        // A number ends at the byte after it, which may come with the next piece.
        sink.scalar(
            Scalar::Number(self.token.text()),
            self.span_to(self.start.saturating_add(self.token.len)),
        );
        Ok(())
    }

    fn in_object(&self) -> bool {
        self.objects[0] & 1 == 1
    }

    /// The place behind so many more bytes. No document is so long that it overflows.
    const fn behind(&self, used: usize) -> u64 {
        self.offset.wrapping_add(used as u64)
    }

    fn span_to(&self, end: u64) -> Span {
        Span {
            start: self.start,
            end,
        }
    }
}

/// RFC 8259, section 2.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// Scans a whole document. For all that is not read on the way of every request: the scanner is compiled anew for each
/// kind of sink that it knows, and but once for all that it does not.
pub fn scan(document: &[u8], sink: &mut dyn Sink) -> Result<(), JsonError> {
    let mut scanner = Scanner::new();
    scanner.push(document, sink)?;
    scanner.finish(sink)
}

/// What may come next. Its tag is a byte of its own: it is looked at several times for each token.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum State {
    /// After a value inside a container: a comma or the end of the container.
    After,
    Colon,
    /// After the document's value.
    Done,
    Failed(JsonError),
    /// After `[`: a value or `]`.
    FirstElement,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma in an object.
    Key,
    Literal {
        literal: Literal,
        matched: usize,
    },
    Number,
    String {
        key: bool,
    },
    Value,
}
