//! A YAML text as a tree of places: what stands where, and in which style.
//!
//! Knows nothing of what it means; `config` judges that.

use super::Item;
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle};
use std::collections::BTreeMap;

/// One value and the bytes that it takes. Of what is written in lines (block style) `end` is that of its last value.
pub(super) struct Node {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// Stands for what is elsewhere.
    Alias(Item),
    List {
        flow: bool,
        items: Vec<Node>,
    },
    Map {
        flow: bool,
        members: Vec<Member>,
    },
    Scalar(Item),
}

pub(super) struct Member {
    pub(super) name: String,
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Node {
    /// Whether nothing is written: `key:`.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Item::Null)) && self.start == self.end
    }

    /// What it says.
    pub(super) fn item(&self) -> Item {
        match &self.kind {
            Kind::Alias(item) | Kind::Scalar(item) => item.clone(),
            Kind::List { items, .. } => Item::List(items.iter().map(Self::item).collect()),
            Kind::Map { members, .. } => {
                let members = members.iter();
                let members = members.map(|member| (member.name.clone(), member.value.item()));
                Item::Map(members.collect())
            }
        }
    }
}

/// `None`: it is not YAML, or more than this editor knows.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        text,
        anchors: BTreeMap::new(),
    };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(..), _) => {}
            (event, span) => return reader.node(event, span),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    anchors: BTreeMap<usize, Item>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        loop {
            match self.parser.next_event()?.ok()? {
                (Event::Comment(..), _) => {}
                found => return Some(found),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Option<Node> {
        let start = span.start.byte_offset()?;
        let mut end = span.end.byte_offset()?;
        let (kind, anchor) = match event {
            Event::Alias(id) => (Kind::Alias(self.anchors.get(&id)?.clone()), 0),
            Event::Scalar(text, style, anchor, _) => {
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    // The empty lines after it are not its own.
                    let written = self.text.get(start..end)?.trim_end();
                    end = start.saturating_add(written.len());
                }
                let item = if style == ScalarStyle::Plain {
                    Item::of_plain(&text)
                } else {
                    Item::Text(text.into_owned())
                };
                (Kind::Scalar(item), anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                let mut items: Vec<Node> = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => {
                            end = match items.last() {
                                Some(last) if style == StructureStyle::Block => last.end,
                                _ => span.end.byte_offset()?,
                            };
                            break;
                        }
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
                let flow = style == StructureStyle::Flow;
                (Kind::List { flow, items }, anchor)
            }
            Event::MappingStart(style, anchor, _) => {
                let mut members: Vec<Member> = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, span) => {
                            end = match members.last() {
                                Some(last) if style == StructureStyle::Block => last.value.end,
                                _ => span.end.byte_offset()?,
                            };
                            break;
                        }
                        (event, span) => members.push(self.member(event, span)?),
                    }
                }
                let flow = style == StructureStyle::Flow;
                (Kind::Map { flow, members }, anchor)
            }
            _ => return None,
        };
        let node = Node { start, end, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.item());
        }
        Some(node)
    }

    fn member(&mut self, event: Event<'a>, span: Span) -> Option<Member> {
        let Event::Scalar(name, ..) = &event else {
            return None;
        };
        let name = name.clone().into_owned();
        let key = self.node(event, span)?;
        let (event, span) = self.next()?;
        let mut value = self.node(event, span)?;
        if value.is_absent() {
            // After the colon, wherever the parser puts it.
            let rest = self.text.get(key.end..)?;
            let at = key.end.saturating_add(rest.find(':')?).saturating_add(1);
            (value.start, value.end) = (at, at);
        }
        Some(Member { name, key, value })
    }
}
