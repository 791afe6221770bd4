//! The event stream format, as a lexer that can be cut at any byte.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>,
//! with one difference: an event that the end of the stream cuts short counts, as the SDKs of LLM
//! APIs have it. Nothing is kept but a field's name: data go on as they come. Knows no JSON.

use crate::json::line_end;
use memchr::memchr;

/// What a stream is made of.
pub(crate) trait Sink {
    /// Part of an event's data. The line feeds between two data lines come as parts of their own.
    fn data(&mut self, part: &[u8]);
    /// The whole of an `event` field, if that is short: `error` is.
    fn event(&mut self, name: &[u8]);
    /// The blank line that ends an event ends before byte `at` of the chunk. `event` is all of it, or nothing if it began
    /// in an earlier one.
    fn end(&mut self, at: usize, event: &[u8]);
    /// The chunk starts with the line feed of the CRLF whose carriage return was the last chunk's last
    /// byte and ended an event.
    fn end_line_feed(&mut self);
    /// How many bytes, from the beginning of an event on, are whole events that need not be told, but for where the last one
    /// ends.
    fn skip(&mut self, stream: &[u8]) -> usize {
        let _ = stream;
        0
    }
}

/// The lexer.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    /// The field's name, later the value of an `event` field.
    word: Word,
    /// How much was seen of the byte order mark that may start the stream.
    mark: usize,
    /// What a carriage return ended that was the last chunk's last byte.
    carriage_return: Option<Ended>,
    /// Something stands between the last blank line and here.
    open: bool,
    has_data: bool,
}

/// What a line's end ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Event,
    Line,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Field {
    Data,
    Event,
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Name,
    /// After the colon, where one space does not count.
    Space(Field),
    Value(Field),
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Lexer {
    /// Takes the stream's next bytes.
    pub(crate) fn push(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        let mut rest = self.skip_mark(chunk);
        if !rest.is_empty()
            && let Some(ended) = self.carriage_return.take()
            && let Some(tail) = rest.strip_prefix(b"\n")
        {
            if ended == Ended::Event {
                sink.end_line_feed();
            }
            rest = tail;
        }
        let mut event = b"".as_slice();
        loop {
            if !self.open && self.word.is_empty() {
                // One begins here.
                let (skipped, behind) = rest.split_at_checked(sink.skip(rest)).unwrap_or_default();
                if !skipped.is_empty() {
                    rest = behind;
                    sink.end(chunk.len().saturating_sub(rest.len()), b"");
                }
                event = rest;
            }
            let Some((line, tail)) = line_end(rest).and_then(|at| rest.split_at_checked(at)) else {
                break;
            };
            self.text(line, sink);
            rest = match tail {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => tail,
            };
            let ended = self.line_end(sink);
            if ended == Ended::Event {
                self.open = false;
                self.has_data = false;
                let (whole, _) = event
                    .split_at_checked(event.len().saturating_sub(rest.len()))
                    .unwrap_or_default();
                sink.end(chunk.len().saturating_sub(rest.len()), whole);
            }
            self.carriage_return = (tail == b"\r").then_some(ended);
        }
        self.text(rest, sink);
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        self.line_end(sink);
        if self.open {
            self.open = false;
            self.has_data = false;
            sink.end(0, b"");
        }
    }

    /// The chunk without its part of a byte order mark.
    fn skip_mark<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let mut rest = chunk;
        while let Some(expected) = BYTE_ORDER_MARK.get(self.mark)
            && let Some((byte, tail)) = rest.split_first()
        {
            if byte == expected {
                self.mark = self.mark.saturating_add(1);
                rest = tail;
            } else {
                // Not a mark, then, but how a line starts.
                self.word
                    .extend(BYTE_ORDER_MARK.get(..self.mark).unwrap_or_default());
                self.mark = BYTE_ORDER_MARK.len();
            }
        }
        rest
    }

    /// Part of a line, without its end.
    fn text(&mut self, mut text: &[u8], sink: &mut impl Sink) {
        if text.is_empty() {
            return;
        }
        self.open = true;
        if self.state == State::Name {
            // What nearly all lines begin with.
            if self.word.is_empty()
                && let Some(value @ [_, ..]) = text.strip_prefix(b"data: ")
            {
                self.begin_data(sink);
                self.state = State::Value(Field::Data);
                return sink.data(value);
            }
            let Some((name, value)) = memchr(b':', text).and_then(|at| text.split_at_checked(at))
            else {
                self.word.extend(text);
                return;
            };
            self.word.extend(name);
            let field = self.field(sink);
            self.state = State::Space(field);
            text = value.get(1..).unwrap_or_default();
        }
        if let State::Space(field) = self.state
            && !text.is_empty()
        {
            self.state = State::Value(field);
            text = text.strip_prefix(b" ").unwrap_or(text);
        }
        match self.state {
            State::Value(Field::Data) if !text.is_empty() => sink.data(text),
            State::Value(Field::Event) => self.word.extend(text),
            _ => {}
        }
    }

    /// The line is over. A blank one ends the event.
    fn line_end(&mut self, sink: &mut impl Sink) -> Ended {
        match self.state {
            State::Name if self.word.is_empty() => return Ended::Event,
            // A line without a colon is a field without a value.
            State::Name => {
                self.field(sink);
            }
            State::Space(Field::Event) | State::Value(Field::Event) => {
                if let Some(name) = self.word.get() {
                    sink.event(name);
                }
            }
            _ => {}
        }
        self.word = Word::default();
        self.state = State::Name;
        Ended::Line
    }

    /// The field's name is complete.
    fn field(&mut self, sink: &mut impl Sink) -> Field {
        let field = match self.word.get() {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Other,
        };
        self.word = Word::default();
        if field == Field::Data {
            self.begin_data(sink);
        }
        field
    }

    /// A line of data begins.
    fn begin_data(&mut self, sink: &mut impl Sink) {
        if self.has_data {
            sink.data(b"\n");
        }
        self.has_data = true;
    }
}

/// A short name; of a longer one only that it is longer.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Word {
    const MAX: usize = 8;

    fn extend(&mut self, part: &[u8]) {
        let free = self.bytes.iter_mut().skip(self.len);
        for (byte, new) in free.zip(part) {
            *byte = *new;
        }
        self.len = self.len.saturating_add(part.len());
    }

    fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what it is told.
    #[derive(Debug, Default, Eq, PartialEq)]
    struct Seen {
        events: Vec<(String, String)>,
        data: String,
        name: String,
    }

    impl Sink for Seen {
        fn data(&mut self, part: &[u8]) {
            assert!(!part.is_empty());
            self.data.extend(part.iter().map(|byte| char::from(*byte)));
        }

        fn event(&mut self, name: &[u8]) {
            self.name = String::from_utf8_lossy(name).into_owned();
        }

        fn end(&mut self, _at: usize, _event: &[u8]) {
            let event = (
                std::mem::take(&mut self.name),
                std::mem::take(&mut self.data),
            );
            if event != Default::default() {
                self.events.push(event);
            }
        }

        fn end_line_feed(&mut self) {}
    }

    fn lex(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut lexer = Lexer::default();
        let mut seen = Seen::default();
        for chunk in chunks {
            lexer.push(chunk, &mut seen);
        }
        lexer.finish(&mut seen);
        assert_eq!((seen.name, seen.data), Default::default());
        seen.events
    }

    /// What `stream` says, cut nowhere; checked to be the same however it is cut.
    fn events(stream: &[u8]) -> Vec<(String, String)> {
        let whole = lex(&[stream]);
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(lex(&[left, b"", right]), whole, "cut at {at}");
        }
        for size in 1..4 {
            assert_eq!(
                lex(&stream.chunks(size).collect::<Vec<_>>()),
                whole,
                "by {size}"
            );
        }
        whole
    }

    #[test]
    fn streams_are_read_as_the_standard_has_it() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")][..]),
            ("data:a\n\n", &[("", "a")]),
            ("data:  a\n\n", &[("", " a")]),
            ("data: a\ndata: b\n\n", &[("", "a\nb")]),
            ("data\ndata\n\n", &[("", "\n")]),
            ("data: a\ndata\ndata:\n\n", &[("", "a\n\n")]),
            ("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]),
            ("data: a\r\ndata: b\n\r\n", &[("", "a\nb")]),
            (
                ": comment\nid: 7\nretry: 1\n data: x\ndatas: x\ndat: x\n\n",
                &[],
            ),
            (":\n\n:data: x\n\n\n\ndata: a\n\n", &[("", "a")]),
            ("event: error\ndata: a\n\n", &[("error", "a")]),
            (
                "event:error\n\nevent: content_block_delta\n\n",
                &[("error", "")],
            ),
            ("event: x\nevent\ndata: a:b\n\n", &[("x", "a:b")]),
            ("data: a", &[("", "a")]),
            ("data: a\n", &[("", "a")]),
            ("data: a\nevent: error", &[("error", "a")]),
            ("", &[]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, data)| ((*name).to_owned(), (*data).to_owned()))
                .collect();
            assert_eq!(events(stream.as_bytes()), expected, "{stream:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_start_only() {
        let a = [(String::new(), "a".to_owned())];
        assert_eq!(events(b"\xef\xbb\xbfdata: a\n\n"), a);
        assert_eq!(events(b"\xef\xbbdata: x\n\ndata: a\n\n"), a);
        assert_eq!(events(b"data: a\n\n\xef\xbb\xbfdata: x\n\n"), a);
        assert_eq!(events(b"\xef\n\n\xbb\xbfdata: x\n\n"), []);
    }

    #[test]
    fn the_end_of_an_event_is_told_where_it_is() {
        struct Ends(Vec<usize>, usize);
        impl Sink for Ends {
            fn data(&mut self, _part: &[u8]) {}
            fn event(&mut self, _name: &[u8]) {}
            fn end(&mut self, at: usize, _event: &[u8]) {
                self.0.push(at);
            }
            fn end_line_feed(&mut self) {
                self.1 += 1;
            }
        }
        let mut lexer = Lexer::default();
        let mut ends = Ends(Vec::new(), 0);
        lexer.push(b"data: a\r\n\r\ndata: b\r\n\r", &mut ends);
        assert_eq!((&ends.0[..], ends.1), (&[11, 21][..], 0));
        lexer.push(b"", &mut ends);
        lexer.push(b"\ndata: c\r", &mut ends);
        assert_eq!(ends.1, 1);
        lexer.push(b"\n\n", &mut ends);
        assert_eq!((&ends.0[..], ends.1), (&[11, 21, 2][..], 1));
    }
}
