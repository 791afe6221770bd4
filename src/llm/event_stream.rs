//! The AWS event stream encoding, as a lexer that can be cut at any byte.
//!
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>. A frame is a prelude (its length, the length
//! of its headers, a checksum), headers, a payload and a checksum. The checksums are not looked at: the
//! client does that. Nothing is kept but a prelude and a message's headers. Knows no JSON.

/// What a stream is made of.
pub(crate) trait Sink {
    /// Part of a frame's payload.
    fn payload(&mut self, part: &[u8]);
    /// The frame is an error instead of an event: its `:message-type` says so. Comes before its payload.
    fn error(&mut self);
    /// The frame is over.
    fn end(&mut self);
}

/// The lexer.
#[derive(Debug)]
pub(crate) struct Lexer {
    part: Part,
    /// What is still to come of the part.
    left: usize,
    /// The prelude or the headers, as far as they came.
    held: Vec<u8>,
    /// Length of the payload to come.
    payload: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Checksum,
    Headers,
    Payload,
    Prelude,
    /// These are no frames: the rest is not read.
    Unreadable,
}

const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// The encoding's own limits.
const MAX_HEADERS: usize = 128 << 10;
const MAX_PAYLOAD: usize = 24 << 20;
/// Headers are read up to here: those of an LLM's answer are three short ones.
const MAX_HELD: usize = 1 << 10;

impl Default for Lexer {
    fn default() -> Self {
        Self {
            part: Part::Prelude,
            left: PRELUDE,
            held: Vec::new(),
            payload: 0,
        }
    }
}

impl Lexer {
    /// Takes the stream's next bytes.
    pub(crate) fn push(&mut self, mut chunk: &[u8], sink: &mut impl Sink) {
        while !chunk.is_empty() && self.part != Part::Unreadable {
            let taken = self.left.min(chunk.len());
            let (part, rest) = chunk.split_at_checked(taken).unwrap_or_default();
            chunk = rest;
            self.left = self.left.saturating_sub(taken);
            match self.part {
                Part::Prelude | Part::Headers => {
                    let free = MAX_HELD.saturating_sub(self.held.len());
                    self.held.extend(part.iter().take(free));
                }
                Part::Payload => sink.payload(part),
                Part::Checksum | Part::Unreadable => {}
            }
            while self.left == 0 && self.part != Part::Unreadable {
                self.advance(sink);
            }
        }
    }

    /// The part is over.
    fn advance(&mut self, sink: &mut impl Sink) {
        (self.part, self.left) = match self.part {
            Part::Prelude => match lengths(&self.held) {
                Some((headers, payload)) => {
                    self.payload = payload;
                    (Part::Headers, headers)
                }
                None => (Part::Unreadable, 0),
            },
            Part::Headers => {
                if matches!(message_type(&self.held), Some(b"error" | b"exception")) {
                    sink.error();
                }
                (Part::Payload, self.payload)
            }
            Part::Payload => (Part::Checksum, CHECKSUM),
            Part::Checksum => {
                sink.end();
                (Part::Prelude, PRELUDE)
            }
            Part::Unreadable => return,
        };
        self.held.clear();
    }
}

/// The lengths of headers and payload that a prelude states.
fn lengths(prelude: &[u8]) -> Option<(usize, usize)> {
    let (total, rest) = take_u32(prelude)?;
    let (headers, _) = take_u32(rest)?;
    let payload = total
        .checked_sub(headers)?
        .checked_sub(PRELUDE)?
        .checked_sub(CHECKSUM)?;
    (headers <= MAX_HEADERS && payload <= MAX_PAYLOAD).then_some((headers, payload))
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
}

/// The value of the string header `:message-type`.
fn message_type(mut headers: &[u8]) -> Option<&[u8]> {
    loop {
        let (name_len, rest) = headers.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
        let (kind, rest) = rest.split_first()?;
        let (value_len, rest) = match kind {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            6 | 7 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            9 => (16, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(value_len)?;
        if (name, *kind) == (b":message-type", 7) {
            return Some(value);
        }
        headers = rest;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A frame with the headers that Bedrock sends; the checksums are left at 0.
    pub(crate) fn frame(message_type: &str, event_type: &str, payload: &[u8]) -> Vec<u8> {
        let mut headers = Vec::new();
        for (name, value) in [
            (":event-type", event_type),
            (":content-type", "application/json"),
            (":message-type", message_type),
        ] {
            headers.push(u8::try_from(name.len()).unwrap());
            headers.extend(name.as_bytes());
            headers.push(7);
            headers.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            headers.extend(value.as_bytes());
        }
        let lens = [PRELUDE, headers.len(), payload.len(), CHECKSUM];
        let total: usize = lens.iter().sum();
        let mut frame = Vec::new();
        for len in [total, headers.len()] {
            frame.extend(u32::try_from(len).unwrap().to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(headers);
        frame.extend(payload);
        frame.extend([0; 4]);
        frame
    }

    #[derive(Debug, Default, Eq, PartialEq)]
    struct Seen(String);

    impl Sink for Seen {
        fn payload(&mut self, part: &[u8]) {
            self.0.push_str(std::str::from_utf8(part).unwrap());
        }
        fn error(&mut self) {
            self.0.push('!');
        }
        fn end(&mut self) {
            self.0.push(';');
        }
    }

    fn lex(stream: &[u8], size: usize) -> String {
        let mut lexer = Lexer::default();
        let mut seen = Seen::default();
        for chunk in stream.chunks(size) {
            lexer.push(chunk, &mut seen);
        }
        seen.0
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let stream = [
            frame("event", "messageStart", b"one"),
            frame("event", "metadata", b""),
            frame("exception", "throttlingException", b"two"),
            frame("event", &"x".repeat(2 * MAX_HELD), b"three"),
        ]
        .concat();
        for size in 1..=stream.len() {
            assert_eq!(lex(&stream, size), "one;;!two;three;", "by {size}");
        }
    }

    #[test]
    fn what_cannot_be_a_frame_ends_the_reading() {
        let good = frame("event", "messageStart", b"one");
        for prelude in [
            [0; 12],
            [0xff; 12],
            *b"{\"message\":\"",
            [0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let stream = [&good[..], &prelude, &good].concat();
            assert_eq!(lex(&stream, stream.len()), "one;");
            assert_eq!(lex(&stream, 1), "one;");
        }
    }
}
