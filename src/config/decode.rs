//! From a [`Node`] tree to plain values, collecting everything that is wrong on the way.
//!
//! Knows maps and lists, not the configuration's fields. Keeps the path to where it is, and
//! notes which parts of the text must not be shown.

use super::error::ConfigError;
use super::node::{Member, Node, Span, Value};
use super::suggest::nearest;
use crate::time::UtcOffset;
use std::fmt::Write;

/// The members that a map can have.
pub(super) struct Fields {
    pub(super) known: &'static [&'static str],
    /// Further ones, which several maps have in common.
    pub(super) common: &'static [&'static str],
    /// Whether what stands in a wrong place here may be an API key.
    pub(super) secret: bool,
    /// A member, and those of its own members that are easily written one level too high.
    pub(super) inner: (&'static str, &'static [&'static str]),
}

impl Fields {
    pub(super) const NONE: Self = Self {
        known: &[],
        common: &[],
        secret: false,
        inner: ("", &[]),
    };
}

/// A map whose members were held against their [`Fields`].
pub(super) struct Map<'a> {
    pub(super) members: &'a [Member],
    pub(super) span: Span,
}

impl<'a> Map<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let member = self.members.iter().find(|member| member.key == name)?;
        Some(&member.node)
    }
}

/// The state of decoding one document.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) errors: Vec<ConfigError>,
    /// Parts of the text that may be secrets.
    pub(super) hidden: Vec<Span>,
    /// For dates that name no offset of their own.
    pub(super) offset: UtcOffset,
    /// Whether limits must be such as Envoy's rate-limit protocol can say.
    pub(super) envoy_limits: bool,
    path: String,
    /// How long the path was outside of each map and list that it leads through.
    outer: Vec<usize>,
}

impl Decoder {
    /// Notes an error at the current path.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        let mut error = ConfigError::new(self.path.clone(), message);
        error.span = span;
        self.errors.push(error);
    }

    /// Notes an error and what to do about it.
    pub(super) fn error_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.error(span, message);
        if let Some(error) = self.errors.last_mut() {
            error.help = Some(help.into());
        }
    }

    /// Notes that a node is of the wrong kind.
    pub(super) fn expected(&mut self, node: &Node, what: &str) {
        let found = node.value.kind();
        self.error(node.span, format!("expected {what}, found {found}"));
    }

    /// Keeps a node's text out of excerpts.
    pub(super) fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(members) => {
                for member in members {
                    self.hidden.push(member.key_span);
                    self.hide(&member.node);
                }
            }
            Value::Bool(_) | Value::Null => {}
            Value::Float(_) | Value::Integer(_) | Value::Text(_) => self.hidden.push(node.span),
        }
    }

    /// Decodes inside a member of a map.
    pub(super) fn within<T>(&mut self, name: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.enter(name);
        let decoded = decode(self);
        self.leave();
        decoded
    }

    // What of decoding a member or an item does not hang on its type is out of line: there are many of them.

    #[inline(never)]
    fn enter(&mut self, name: &str) {
        self.outer.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('.');
        }
        // A name that the file made up may be long, or hold what would break a log line.
        self.path
            .extend(name.chars().take(64).flat_map(char::escape_debug));
    }

    #[inline(never)]
    fn enter_member<'a>(&mut self, map: &Map<'a>, name: &str) -> Option<&'a Node> {
        let node = map.get(name)?;
        self.enter(name);
        Some(node)
    }

    #[inline(never)]
    fn enter_item(&mut self, index: usize) {
        self.outer.push(self.path.len());
        let _ = write!(self.path, "[{index}]"); // a String takes everything
    }

    #[inline(never)]
    fn leave(&mut self) {
        let outer = self.outer.pop().unwrap_or_default();
        self.path.truncate(outer);
    }

    #[inline(never)]
    fn items<'a>(&mut self, node: &'a Node) -> Option<&'a [Node]> {
        let Value::List(items) = &node.value else {
            self.hide(node);
            self.expected(node, "a list");
            return None;
        };
        Some(items)
    }

    #[inline(never)]
    fn demand(&mut self, map: &Map<'_>, name: &str) {
        if map.get(name).is_none() {
            self.within(name, |d| d.error(map.span, "missing"));
        }
    }

    /// Decodes inside an item of a list.
    pub(super) fn item<T>(&mut self, index: usize, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.enter_item(index);
        let decoded = decode(self);
        self.leave();
        decoded
    }

    /// An optional member.
    pub(super) fn field<T>(
        &mut self,
        map: &Map<'_>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.enter_member(map, name)?;
        let decoded = decode(self, node);
        self.leave();
        decoded
    }

    /// A member that must be there.
    pub(super) fn required<T>(
        &mut self,
        map: &Map<'_>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        self.demand(map, name);
        self.field(map, name, decode)
    }

    /// A map; its members must be known and stand there once.
    pub(super) fn map<'a>(&mut self, node: &'a Node, fields: &Fields) -> Option<Map<'a>> {
        let Value::Map(members) = &node.value else {
            self.hide(node);
            self.expected(node, "a map");
            return None;
        };
        self.reject_duplicates(members);
        for Member {
            key,
            key_span,
            node,
        } in members
        {
            let known = || fields.known.iter().chain(fields.common).copied();
            if known().any(|known| known == key) {
                continue;
            }
            let near = nearest(key, known());
            let (inner, names) = fields.inner;
            if !near.is_some_and(|near| is_harmless(near, node)) {
                self.hide(node);
            }
            if names.contains(&key.as_str()) {
                let help = format!("did you mean `{inner}.{key}`?");
                self.within(key, |d| d.error_help(*key_span, "unknown field", help));
            } else if let Some(known) = near {
                let help = format!("did you mean `{known}`?");
                self.within(key, |d| d.error_help(*key_span, "unknown field", help));
            } else if fields.secret {
                self.hidden.push(*key_span);
                self.error_help(
                    *key_span,
                    "unknown field",
                    "its name is not shown, it may be a key",
                );
            } else {
                let known: Vec<&str> = known().collect();
                let help = format!("known here: {}", known.join(", "));
                self.within(key, |d| d.error_help(*key_span, "unknown field", help));
            }
        }
        Some(Map {
            members,
            span: node.span,
        })
    }

    /// A map whose member names are the author's own.
    pub(super) fn free_map<'a>(&mut self, node: &'a Node) -> Option<&'a [Member]> {
        let Value::Map(members) = &node.value else {
            self.expected(node, "a map");
            return None;
        };
        self.reject_duplicates(members);
        Some(members)
    }

    fn reject_duplicates(&mut self, members: &[Member]) {
        let mut names: Vec<&str> = Vec::with_capacity(members.len());
        for Member {
            key,
            key_span,
            node,
        } in members
        {
            let Err(at) = names.binary_search(&key.as_str()) else {
                self.hide(node);
                self.within(key, |d| d.error(*key_span, "given twice"));
                continue;
            };
            names.insert(at, key);
        }
    }

    /// A list, item by item; items that are wrong are left out.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        mut decode: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.items(node)?;
        // As a rule all of them are right, and there may be a hundred thousand.
        let mut decoded = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(value) = self.item(index, |d| decode(d, item)) {
                decoded.push(value);
            }
        }
        Some(decoded)
    }

    /// A list in which nothing may stand twice.
    pub(super) fn set<T: PartialEq>(
        &mut self,
        node: &Node,
        mut decode: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen = Vec::new();
        self.list(node, |d, item| {
            let value = decode(d, item)?;
            if seen.contains(&value) {
                d.error(item.span, "given twice");
            } else {
                seen.push(value);
            }
            Some(())
        })?;
        Some(seen)
    }

    /// The same of texts, which most are.
    #[inline(never)]
    pub(super) fn texts(
        &mut self,
        node: &Node,
        decode: &mut dyn FnMut(&mut Self, &Node) -> Option<String>,
    ) -> Option<Vec<String>> {
        self.set(node, decode)
    }
}

/// Whether what stands under a misspelt name can be shown.
fn is_harmless(meant: &str, node: &Node) -> bool {
    let secret = matches!(
        meant,
        "api_key" | "api_keys" | "env" | "secret_key_ref" | "sha256"
    );
    let flat = |node: &Node| !matches!(node.value, Value::List(_) | Value::Map(_));
    let shallow = match &node.value {
        Value::List(items) => items.iter().all(flat),
        _ => flat(node),
    };
    shallow && !secret
}
