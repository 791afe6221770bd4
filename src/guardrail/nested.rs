//! Texts that are JSON documents themselves, as the arguments of tools and what tools answer are: what stands in their strings
//! is looked at as their readers see it, not as it is escaped.

/// Reads one text.
#[derive(Debug, Default)]
pub(super) struct Nested {
    kind: Kind,
    /// Inside a string of the document.
    inside: bool,
    /// An escape whose end has not come.
    escape: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Kind {
    /// Nothing but white space came.
    #[default]
    Untold,
    /// A brace or a bracket came.
    Object,
    Array,
    Document,
    Prose,
}

/// A part of the text.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// What it says.
    pub(super) text: &'a [u8],
    /// Its length as it is written.
    pub(super) raw: usize,
    /// It is a quote at the beginning or the end of a string of the document.
    pub(super) quote: bool,
}

impl<'a> Part<'a> {
    /// One that says what it is.
    pub(super) const fn plain(text: &'a [u8]) -> Self {
        Self {
            text,
            raw: text.len(),
            quote: false,
        }
    }
}

impl Nested {
    /// Whether it is no document, and so says what it is; a piece of it decides that.
    pub(super) fn is_prose(&mut self, piece: &[u8]) -> bool {
        if self.kind == Kind::Untold
            && piece
                .first()
                .is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'{' | b'['))
        {
            self.kind = Kind::Prose;
        }
        self.kind == Kind::Prose
    }

    pub(super) fn is_document(&self) -> bool {
        self.kind == Kind::Document
    }

    /// Whether the text is inside a string of the document by now.
    pub(super) const fn is_inside(&self) -> bool {
        self.inside
    }

    /// Takes the next piece, and gives out its parts.
    pub(super) fn read(&mut self, piece: &[u8], each: &mut dyn FnMut(&Self, Part<'_>)) {
        let told = self.tell(piece);
        let (start, mut rest) = piece.split_at_checked(told).unwrap_or((piece, &[]));
        each(self, Part::plain(start));
        if self.kind != Kind::Document {
            return each(self, Part::plain(rest));
        }
        while let Some((first, tail)) = rest.split_first() {
            if !self.escape.is_empty() {
                self.escape.push(*first);
                rest = tail;
                self.unescape(each);
                continue;
            }
            let ends = |byte: &u8| *byte == b'"' || (self.inside && *byte == b'\\');
            let run = rest.iter().position(ends).unwrap_or(rest.len());
            let (text, behind) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            each(self, Part::plain(text));
            rest = match behind.split_first() {
                Some((b'"', tail)) => {
                    self.inside = !self.inside;
                    let quote = Part {
                        quote: true,
                        ..Part::plain(b"\"")
                    };
                    each(self, quote);
                    tail
                }
                Some((escape, tail)) => {
                    self.escape.push(*escape);
                    tail
                }
                None => &[],
            };
        }
    }

    /// The text is over: gives out what is left of it. What follows is another one.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&Self, Part<'_>)) {
        let rest = std::mem::take(&mut self.escape);
        each(self, Part::plain(&rest));
        *self = Self::default();
    }

    /// How much of a piece stands before what tells a document from prose that has a bracket in front.
    fn tell(&mut self, piece: &[u8]) -> usize {
        for (at, byte) in piece.iter().enumerate() {
            self.kind = match (self.kind, byte) {
                (Kind::Document | Kind::Prose, _) => return at,
                (kind, b' ' | b'\t' | b'\n' | b'\r') => kind,
                (Kind::Untold, b'{') => Kind::Object,
                (Kind::Untold, b'[') => Kind::Array,
                (Kind::Object, b'"' | b'}')
                | (Kind::Array, b'"' | b'{' | b'[' | b']' | b'-' | b'0'..=b'9') => {
                    self.kind = Kind::Document;
                    return at;
                }
                _ => {
                    self.kind = Kind::Prose;
                    return at;
                }
            };
        }
        piece.len()
    }

    /// Gives an escape out once it is whole.
    fn unescape(&mut self, each: &mut dyn FnMut(&Self, Part<'_>)) {
        let mut utf8 = [0; 4];
        let char = match self.escape.get(1..).unwrap_or_default() {
            [b'b'] => '\u{8}',
            [b'f'] => '\u{c}',
            [b'n'] => '\n',
            [b'r'] => '\r',
            [b't'] => '\t',
            [same @ (b'"' | b'\\' | b'/')] => char::from(*same),
            [b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
                if digits.len() < 4 {
                    return;
                }
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                // Of two that are one character together each is none: nothing that is looked for has one in it.
                let code = u32::from_str_radix(digits, 16).ok();
                code.and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            // None at all.
            _ => {
                let raw = std::mem::take(&mut self.escape);
                return each(self, Part::plain(&raw));
            }
        };
        let part = Part {
            text: char.encode_utf8(&mut utf8).as_bytes(),
            raw: self.escape.len(),
            quote: false,
        };
        self.escape.clear();
        each(self, part);
    }
}
