//! One change to a text: which bytes go, and what comes in their place. Everything else stays as it is.
//!
//! Knows layout, not meaning. What is wrong is said in words that end a command.

use super::Item;
use super::tree::{Kind, Member, Node};

/// One step into a document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A member of a map.
    Key(&'a str),
    /// An item of a list.
    At(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(name: &'a str) -> Self {
        Self::Key(name)
    }
}

impl From<usize> for Step<'_> {
    fn from(at: usize) -> Self {
        Self::At(at)
    }
}

const BY_HAND: &str =
    "the file is laid out in a way that only a person should change; edit it by hand";

/// A text that can be changed at its tree's places.
pub(super) struct Page<'a> {
    pub(super) text: &'a str,
    pub(super) root: &'a Node,
    /// Whether it is JSON, and must stay so.
    pub(super) json: bool,
}

type Changed = Result<String, &'static str>;

impl Page<'_> {
    /// Writes a value in place of the one that is there, or a member that is not there yet.
    pub(super) fn set(&self, path: &[Step<'_>], value: &Item) -> Changed {
        let (last, above) = path.split_last().ok_or(BY_HAND)?;
        let parent = self.find(above)?;
        match (last, &parent.kind) {
            (Step::Key(name), Kind::Map { flow, members }) => {
                match members.iter().find(|member| member.name == *name) {
                    Some(member) => Ok(self.replace_member(member, *flow, name, value)),
                    None => Ok(self.insert_member(parent, *flow, members, name, value)),
                }
            }
            (Step::Key(name), Kind::Scalar(Item::Null)) => {
                self.set(above, &Item::map([(name, value.clone())]))
            }
            (Step::At(at), Kind::List { flow, items }) => {
                let item = items.get(*at).ok_or(BY_HAND)?;
                self.replace_item(item, *flow, value)
            }
            _ => Err(BY_HAND),
        }
    }

    /// Gives a member another name and value, where it stands.
    pub(super) fn replace(&self, path: &[Step<'_>], name: &str, value: &Item) -> Changed {
        let (Some((Step::Key(old), above)), false) = (path.split_last(), path.is_empty()) else {
            return Err(BY_HAND);
        };
        match &self.find(above)?.kind {
            Kind::Map { flow, members } => {
                let member = members.iter().find(|member| member.name == *old);
                Ok(self.replace_member(member.ok_or(BY_HAND)?, *flow, name, value))
            }
            _ => Err(BY_HAND),
        }
    }

    /// Adds an item at the end of a list, which is made if need be.
    pub(super) fn push(&self, path: &[Step<'_>], item: &Item) -> Changed {
        let Some(found) = self.find_opt(path)? else {
            return self.set(path, &Item::List(vec![item.clone()]));
        };
        match &found.kind {
            Kind::Scalar(Item::Null) => self.set(path, &Item::List(vec![item.clone()])),
            Kind::List { flow: false, items } => {
                let last = items.last().ok_or(BY_HAND)?;
                let dash = self.dash(last)?;
                let column = self.column(dash);
                let block = item.block(column.saturating_add(2));
                Ok(self.insert_line(last.end, column, &format!("- {block}")))
            }
            Kind::List { flow: true, items }
                if items.is_empty() && !self.json && !item.is_inline() =>
            {
                self.set(path, &Item::List(vec![item.clone()]))
            }
            Kind::List { flow: true, items } => {
                let last = items.last().map(|last| (last.start, last.end));
                Ok(self.insert_flow(found, last, &item.inline(self.json)))
            }
            _ => Err(BY_HAND),
        }
    }

    /// Takes a member or an item out, with the comment right above it.
    pub(super) fn remove(&self, path: &[Step<'_>]) -> Changed {
        let (last, above) = path.split_last().ok_or(BY_HAND)?;
        let parent = self.find(above)?;
        let (children, flow, at, empty) = match (last, &parent.kind) {
            (Step::Key(name), Kind::Map { flow, members }) => {
                let at = members.iter().position(|member| member.name == *name);
                let children = members
                    .iter()
                    .map(|member| (member.key.start, member.value.end));
                (
                    children.collect::<Vec<_>>(),
                    *flow,
                    at,
                    Item::Map(Vec::new()),
                )
            }
            (Step::At(at), Kind::List { flow, items }) => {
                let children = items.iter().map(|item| {
                    let start = if *flow {
                        Ok(item.start)
                    } else {
                        self.dash(item)
                    };
                    start.map(|start| (start, item.end))
                });
                let children = children.collect::<Result<Vec<_>, _>>()?;
                (children, *flow, Some(*at), Item::List(Vec::new()))
            }
            _ => return Err(BY_HAND),
        };
        let at = at.filter(|at| *at < children.len()).ok_or(BY_HAND)?;
        if children.len() == 1 && !flow {
            return self.set(above, &empty);
        }
        let of = |at: Option<usize>| at.and_then(|at| children.get(at)).copied();
        let (start, end) = of(Some(at)).ok_or(BY_HAND)?;
        let (before, after) = (of(at.checked_sub(1)), of(at.checked_add(1)));
        if flow {
            return match (before, after) {
                (_, Some((next, _))) => Ok(self.splice(start, next, "")),
                (Some((_, previous)), None) => Ok(self.splice(previous, end, "")),
                (None, None) => Ok(self.splice(start, end, "")),
            };
        }
        if !self.is_first_on_line(start) {
            let (next, _) = after.ok_or(BY_HAND)?;
            return Ok(self.splice(start, next, ""));
        }
        Ok(self.splice(self.with_comments(start), self.line_end(end), ""))
    }

    fn find(&self, path: &[Step<'_>]) -> Result<&Node, &'static str> {
        self.find_opt(path)?.ok_or(BY_HAND)
    }

    fn find_opt(&self, path: &[Step<'_>]) -> Result<Option<&Node>, &'static str> {
        let mut node = self.root;
        for step in path {
            let next = match (step, &node.kind) {
                (Step::Key(name), Kind::Map { members, .. }) => members
                    .iter()
                    .find(|member| member.name == *name)
                    .map(|member| &member.value),
                (Step::At(at), Kind::List { items, .. }) => items.get(*at),
                (_, Kind::Scalar(Item::Null)) => None,
                _ => return Err(BY_HAND),
            };
            match next {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    fn replace_member(&self, member: &Member, flow: bool, name: &str, value: &Item) -> String {
        let Member {
            name: old,
            key,
            value: was,
        } = member;
        let renamed = if name == old {
            self.text
                .get(key.start..key.end)
                .unwrap_or_default()
                .to_owned()
        } else {
            Item::from(name).inline(self.json)
        };
        let one_line = !self.slice(key.start, was.end).contains('\n');
        if flow || self.json || (value.is_inline() && one_line) {
            let between = self.slice(key.end, was.start);
            let space = if was.is_absent() { " " } else { "" };
            let value = value.inline(self.json);
            return self.splice(
                key.start,
                was.end,
                &format!("{renamed}{between}{space}{value}"),
            );
        }
        let mut written = format!("{renamed}:");
        value.write_value(self.column(key.start), &mut written);
        self.splice_lines(key.start, was.end, &written)
    }

    fn replace_item(&self, item: &Node, flow: bool, value: &Item) -> Changed {
        if flow || (value.is_inline() && !self.slice(item.start, item.end).contains('\n')) {
            if item.is_absent() {
                return Err(BY_HAND);
            }
            return Ok(self.splice(item.start, item.end, &value.inline(self.json)));
        }
        let dash = self.dash(item)?;
        let written = value.block(self.column(dash).saturating_add(2));
        Ok(self.splice_lines(dash, item.end, &format!("- {written}")))
    }

    fn insert_member(
        &self,
        map: &Node,
        flow: bool,
        members: &[Member],
        name: &str,
        value: &Item,
    ) -> String {
        let name = Item::from(name).inline(self.json);
        match members.last() {
            Some(last) if !flow => {
                let column = self.column(last.key.start);
                let mut written = format!("{name}:");
                value.write_value(column, &mut written);
                self.insert_line(last.value.end, column, &written)
            }
            last => {
                let written = format!("{name}: {}", value.inline(self.json));
                self.insert_flow(
                    map,
                    last.map(|last| (last.key.start, last.value.end)),
                    &written,
                )
            }
        }
    }

    /// Between brackets: after the last one, on a line of its own if that has one.
    fn insert_flow(&self, within: &Node, last: Option<(usize, usize)>, written: &str) -> String {
        let close = within.end.saturating_sub(1);
        let Some((start, end)) = last else {
            let open = within.start.saturating_add(1);
            return self.splice(open, close, written);
        };
        let comma = match self.slice(end, close).find(',') {
            Some(at) => (end.saturating_add(at).saturating_add(1), ""),
            None => (end, ","),
        };
        let (at, comma) = comma;
        let space = if self.is_first_on_line(start) {
            format!("\n{}", " ".repeat(self.column(start)))
        } else {
            " ".to_owned()
        };
        self.splice(at, at, &format!("{comma}{space}{written}"))
    }

    /// A line of its own after the one with the last byte before `end`.
    fn insert_line(&self, end: usize, column: usize, written: &str) -> String {
        let at = self.line_end(end);
        let missing = if self
            .text
            .get(..at)
            .is_some_and(|before| before.ends_with('\n'))
        {
            ""
        } else {
            "\n"
        };
        let margin = " ".repeat(column);
        self.splice(at, at, &format!("{missing}{margin}{written}\n"))
    }

    /// As [`Self::splice`]; what stands behind it on its last line, a comment, goes to the first of the new lines.
    fn splice_lines(&self, start: usize, end: usize, written: &str) -> String {
        let line_end = self.line_end(end);
        let tail = self.slice(end, line_end).trim_end();
        let (first, rest) = written.split_once('\n').unwrap_or((written, ""));
        let newline = if rest.is_empty() { "" } else { "\n" };
        let end = end.saturating_add(tail.len());
        self.splice(start, end, &format!("{first}{tail}{newline}{rest}"))
    }

    fn splice(&self, start: usize, end: usize, with: &str) -> String {
        let with = if self.text.contains("\r\n") {
            with.replace('\n', "\r\n") // as its other lines end
        } else {
            with.to_owned()
        };
        format!(
            "{}{with}{}",
            self.slice(0, start),
            self.slice(end, self.text.len())
        )
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn line_start(&self, at: usize) -> usize {
        self.slice(0, at)
            .rfind('\n')
            .map_or(0, |at| at.saturating_add(1))
    }

    /// After the line feed that ends the line.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.slice(at, self.text.len());
        let length = rest
            .find('\n')
            .map_or(rest.len(), |at| at.saturating_add(1));
        at.saturating_add(length)
    }

    fn column(&self, at: usize) -> usize {
        self.slice(self.line_start(at), at).chars().count()
    }

    fn is_first_on_line(&self, at: usize) -> bool {
        self.slice(self.line_start(at), at).trim().is_empty()
    }

    /// Where the dash before an item of a list is.
    fn dash(&self, item: &Node) -> Result<usize, &'static str> {
        let mut end = item.start;
        loop {
            let start = self.line_start(end);
            let line = self.slice(start, end);
            let code = if end == item.start {
                line.trim_end()
            } else {
                line.split(" #").next().unwrap_or_default().trim_end()
            };
            if code.ends_with('-') {
                return Ok(start.saturating_add(code.len()).saturating_sub(1));
            }
            if !code.trim().is_empty() && !code.trim_start().starts_with('#') {
                return Err(BY_HAND); // an anchor or a tag
            }
            end = start.checked_sub(1).ok_or(BY_HAND)?;
        }
    }

    /// The start of the line, or of the comments right above it that are as far in.
    fn with_comments(&self, at: usize) -> usize {
        let column = self.column(at);
        let mut start = self.line_start(at);
        while let Some(end) = start.checked_sub(1) {
            let above = self.line_start(end);
            let line = self.slice(above, end);
            let margin = line.len().saturating_sub(line.trim_start().len());
            if margin != column || !line.trim_start().starts_with('#') {
                break;
            }
            start = above;
        }
        start
    }
}
