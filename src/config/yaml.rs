//! What people write: YAML 1.2 with positions, aliases, and excerpts that are safe to show. Not in the filter.

use super::error::Location;
use super::node::{Member, Node, Span, Value};
use super::{Config, ConfigError, document};
use granit_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use std::collections::BTreeMap;

/// How many nodes aliases may copy in all: a few lines of nested aliases would else fill the memory.
const MAX_COPIED: usize = 100_000;

/// Enough for any configuration, and shallow enough for the recursion here.
const MAX_DEPTH: usize = 64;

pub(super) fn decode(text: &str) -> Result<Config, Vec<ConfigError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(text);
    let root = match reader.document() {
        Ok(root) => root,
        Err(invalid) => return Err(vec![invalid.in_text(text)]),
    };
    let (result, hidden) = document::decode(&root);
    result.map_err(|mut errors| {
        errors.sort_by_key(|error| error.span);
        let shown = reader.shown(&hidden);
        for error in &mut errors {
            error.location = locate(&shown, error.span);
        }
        errors
    })
}

/// The tree of a policy, and its text without what may be secret.
pub(super) fn shown(text: &str) -> Option<(Node, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(text);
    let root = reader.document().ok()?;
    let (_, hidden) = document::decode(&root);
    let shown = reader.shown(&hidden);
    Some((root, shown))
}

/// The tree of any text, whatever it means.
pub(super) fn tree(text: &str) -> Result<Node, Box<ConfigError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = Reader::new(text).document();
    root.map_err(|invalid| Box::new(invalid.in_text(text)))
}

/// Why there is no tree at all.
struct Invalid {
    span: Span,
    message: String,
}

impl Invalid {
    /// With its place, in an excerpt that is safe to show.
    fn in_text(self, text: &str) -> ConfigError {
        let mut error = ConfigError::new("", self.message);
        error.location = locate(&structure(text), self.span);
        error
    }
}

/// Builds the tree out of the parser's events.
struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    depth: usize,
    comments: Vec<Span>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            text,
            anchors: BTreeMap::new(),
            copied: 0,
            depth: 0,
            comments: Vec::new(),
        }
    }

    /// The text without comments, and with asterisks for what may be secret.
    fn shown(&self, hidden: &[Span]) -> String {
        let mut shown = self.text.as_bytes().to_vec();
        blank(&mut shown, hidden, b'*');
        blank(&mut shown, &self.comments, b' ');
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn document(&mut self) -> Result<Node, Invalid> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return root.ok_or_else(|| fail(span, "the document is empty")),
                _ if root.is_some() => {
                    return Err(fail(
                        span,
                        "there is a second document: a policy is one; take out what follows `---`",
                    ));
                }
                event => root = Some(self.node(event, span)?),
            }
        }
    }

    /// The next event that is content.
    fn next(&mut self) -> Result<(Event<'a>, Span), Invalid> {
        loop {
            let end = Span {
                start: self.text.len(),
                end: self.text.len(),
                ..Span::default()
            };
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, end)),
                Some(Err(error)) => {
                    let at = span(*error.marker(), *error.marker());
                    return Err(fail(at, format!("not YAML: {}", error.info())));
                }
                Some(Ok((Event::Comment(..), at))) => self.comments.push(span(at.start, at.end)),
                Some(Ok((event, at))) => return Ok((event, span(at.start, at.end))),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Invalid> {
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let node = self
                    .anchors
                    .get(&id)
                    .ok_or_else(|| fail(span, "an alias inside what it stands for"))?;
                self.copied = self.copied.saturating_add(size(node));
                if self.copied > MAX_COPIED {
                    return Err(fail(span, "aliases copy too much"));
                }
                return Ok(Node {
                    span,
                    ..node.clone()
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag
                    .as_ref()
                    .and_then(|tag| tag.core_suffix().map(str::to_owned));
                let value = match (tag.is_some(), core.as_deref()) {
                    (false, _) if style == ScalarStyle::Plain => plain(&text),
                    (false, _) | (true, Some("str")) => Value::Text(text.into_owned()),
                    (true, _) => return Err(fail(span, "tags are not supported: take it out")),
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, None) => (self.nested(span, Self::list)?, anchor),
            Event::MappingStart(_, anchor, None) => (self.nested(span, Self::map)?, anchor),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(fail(span, "tags are not supported: take it out"));
            }
            _ => return Err(fail(span, "not YAML")),
        };
        let node = Node { span, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn nested(
        &mut self,
        span: Span,
        read: fn(&mut Self) -> Result<Value, Invalid>,
    ) -> Result<Value, Invalid> {
        if self.depth >= MAX_DEPTH {
            return Err(fail(span, "nested too deeply"));
        }
        self.depth = self.depth.saturating_add(1);
        let value = read(self);
        self.depth = self.depth.saturating_sub(1);
        value
    }

    fn list(&mut self) -> Result<Value, Invalid> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, Invalid> {
        let mut members = Vec::new();
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(members)),
                Event::Scalar(key, ..) if key == "<<" => {
                    return Err(fail(
                        key_span,
                        "merge keys are not supported: write the members out, or take an alias for all of a map",
                    ));
                }
                // A name is text however it looks: JSON has no other.
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(fail(key_span, "a member's name must be plain text")),
            };
            let (event, span) = self.next()?;
            let mut node = self.node(event, span)?;
            if matches!(node.value, Value::Null | Value::Map(_)) {
                node.span = key_span; // it begins on another line, or nowhere
            }
            members.push(Member {
                key,
                key_span,
                node,
            });
        }
    }
}

/// The [core schema](https://yaml.org/spec/1.2.2/#103-core-schema), without octal and hexadecimal numbers.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    // A leading zero is octal to YAML 1.1 and to Go: left as text, it is refused where a number is due.
    let zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if zero
        || !number
        || !digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return Value::Text(text.to_owned());
    }
    match text.parse() {
        Ok(value) => Value::Integer(value),
        Err(_) => text
            .parse()
            .map_or_else(|_| Value::Text(text.to_owned()), Value::number),
    }
}

fn size(node: &Node) -> usize {
    let inner: usize = match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(members) => members.iter().map(|member| size(&member.node)).sum(),
        _ => 0,
    };
    inner.saturating_add(1)
}

fn fail(span: Span, message: impl Into<String>) -> Invalid {
    let message = message.into();
    Invalid { span, message }
}

fn span(start: Marker, end: Marker) -> Span {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Span {
        line: count(start.line()),
        column: count(start.col()).saturating_add(1),
        start: start.byte_offset().unwrap_or_default(),
        end: end.byte_offset().unwrap_or_default(),
    }
}

/// Writes over parts of a text, keeping its lines.
fn blank(text: &mut [u8], spans: &[Span], with: u8) {
    for span in spans {
        for byte in text.get_mut(span.start..span.end).into_iter().flatten() {
            if *byte != b'\n' && *byte != b'\r' {
                *byte = with;
            }
        }
    }
}

/// Where nothing is known of what the text means, every value may be a secret: only names and punctuation are left.
pub(super) fn structure(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_name = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || b" -_\"".contains(&byte))
        };
        let name = line
            .find(':')
            .and_then(|colon| line.get(..colon))
            .filter(|name| is_name(name));
        let (name, rest) = line.split_at(name.map_or(0, str::len));
        shown.push_str(name);
        for c in rest.chars() {
            let mask = if c.is_alphanumeric() || !c.is_ascii() {
                '*'
            } else {
                c
            };
            shown.extend(std::iter::repeat_n(mask, c.len_utf8())); // offsets stay right
        }
    }
    shown
}

/// The first line of a span, out of a text that is safe to show.
pub(super) fn locate(text: &str, span: Span) -> Option<Location> {
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let line = text.get(line_start..)?.lines().next().unwrap_or_default();
    let excerpt = line.trim_end();
    let start = span.start.saturating_sub(line_start).min(excerpt.len());
    let end = span
        .end
        .saturating_sub(line_start)
        .clamp(start, excerpt.len());
    let newlines = before.bytes().filter(|byte| *byte == b'\n').count();
    Some(Location {
        line: u32::try_from(newlines.saturating_add(1)).ok()?,
        column: u32::try_from(before.get(line_start..)?.chars().count().saturating_add(1)).ok()?,
        excerpt: excerpt.to_owned(),
        range: start..end,
    })
}
