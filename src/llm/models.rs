//! Lists of models, cut down to what the caller may use.
//!
//! Works on a whole answer. What it does not know as a list it does not let pass: a list that leaks is
//! worse than an error. Entries that stay, and all beside them, keep their bytes and their order. Knows
//! no group: what is allowed is asked.

use super::endpoint::Dialect;
use crate::json::{Container, Scalar, Sink, Span, Text, Writer, edited, scan};

/// The answer to `GET /v1/models` without the models that are not `allowed`; `None` if it is no list of
/// models.
pub fn filter(body: &[u8], dialect: Dialect, allowed: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut answer = Answer {
        body,
        dialect,
        allowed,
        depth: 0,
        member: Member::Other,
        list: None,
        entry: Entry::default(),
        kept: String::new(),
        ends: [None, None],
        page: Vec::new(),
        edits: Vec::new(),
        is_list: true, // `{}` is Gemini's empty list
        refused: false,
    };
    scan(body, &mut answer).ok()?;
    answer.filtered()
}

/// A walk over an answer: a list of models (Together's), or an object that has one.
struct Answer<'a> {
    body: &'a [u8],
    dialect: Dialect,
    allowed: &'a dyn Fn(&str) -> bool,
    /// How many containers are open.
    depth: usize,
    /// The current one, where the document is an object.
    member: Member,
    /// The list being read: the depth of its entries, and where it began.
    list: Option<(usize, u64)>,
    entry: Entry,
    /// The entries of the list that stay.
    kept: String,
    /// The names of the first and the last of them.
    ends: [Option<String>; 2],
    /// Where the answer says them once more.
    page: Vec<(Span, usize)>,
    /// What stands in place of these bytes.
    edits: Vec<(Span, String)>,
    is_list: bool,
    refused: bool,
}

/// A member of the document.
#[derive(Clone, Copy)]
enum Member {
    /// A list. llama.cpp gives two, with the same models.
    Models,
    Other,
    /// Where a page of Anthropic's list starts (0) or ends (1); both name a model.
    Page(usize),
}

/// An entry of a list.
#[derive(Default)]
struct Entry {
    start: u64,
    names: [Name; NAMES.len()],
    /// The one of them whose value is next.
    next: Option<usize>,
}

/// An entry goes by whichever of these it has first: beside an `id`, `name` is for people.
const NAMES: [&str; 3] = ["id", "model", "name"];

#[derive(Default)]
struct Name {
    seen: bool,
    text: Option<String>,
}

/// Where in an answer a value is.
enum Level {
    Document,
    Member,
    Entry,
    /// A member of an entry.
    Field,
    Inside,
}

impl Answer<'_> {
    fn level(&self) -> Level {
        match (self.list, self.depth) {
            (Some((entries, _)), depth) if depth == entries => Level::Entry,
            (Some((entries, _)), depth) if depth.checked_sub(1) == Some(entries) => Level::Field,
            (None, 0) => Level::Document,
            (None, 1) => Level::Member,
            _ => Level::Inside,
        }
    }

    fn begin_list(&mut self, at: u64) {
        self.list = Some((self.depth.saturating_add(1), at));
        self.is_list = true;
        self.kept.clear();
        self.ends = [None, None];
    }

    fn end_list(&mut self, start: u64, end: u64) {
        self.list = None;
        let kept = ["[", &self.kept, "]"].concat();
        self.edits.push((Span { start, end }, kept));
    }

    fn end_entry(&mut self, end: u64) {
        let Entry { start, names, .. } = std::mem::take(&mut self.entry);
        let Some(name) = names.into_iter().find_map(|name| name.text) else {
            self.refused = true;
            return;
        };
        if !(self.allowed)(self.plain(&name)) {
            return;
        }
        if !self.kept.is_empty() {
            self.kept.push(',');
        }
        self.kept.push_str(Span { start, end }.of(self.body));
        let [first, last] = &mut self.ends;
        first.get_or_insert_with(|| name.clone());
        *last = Some(name);
    }

    /// The name as requests have it.
    fn plain<'n>(&self, name: &'n str) -> &'n str {
        match self.dialect {
            Dialect::Gemini => name
                .strip_prefix("models/")
                .or_else(|| name.strip_prefix("tunedModels/"))
                .unwrap_or(name),
            // Gemini's OpenAI-compatible list has the prefix too.
            Dialect::OpenAi => name.strip_prefix("models/").unwrap_or(name),
            Dialect::Anthropic | Dialect::Bedrock => name,
        }
    }

    fn filtered(mut self) -> Option<Vec<u8>> {
        if self.refused || !self.is_list {
            return None;
        }
        for (span, end) in self.page {
            let name = self.ends.get(end)?.as_deref();
            let mut json = Writer::default();
            json.optional(name);
            self.edits.push((span, json.finish()));
        }
        edited(self.body, self.edits)
    }
}

impl Sink for Answer<'_> {
    fn open(&mut self, container: Container, at: u64) {
        match (self.level(), container, self.member) {
            (Level::Document, Container::Array, _)
            | (Level::Member, Container::Array, Member::Models) => self.begin_list(at),
            (Level::Entry, Container::Object, _) => self.entry.start = at,
            (Level::Member, _, Member::Models | Member::Page(_)) | (Level::Entry, ..) => {
                self.refused = true;
            }
            (Level::Field, ..) => self.refused |= self.entry.next.is_some(),
            _ => {}
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self, _container: Container, at: u64) {
        self.depth = self.depth.saturating_sub(1);
        let end = at.saturating_add(1);
        match self.list {
            Some((entries, _)) if self.depth == entries => self.end_entry(end),
            Some((entries, start)) if self.depth < entries => self.end_list(start, end),
            _ => {}
        }
    }

    fn key(&mut self, key: Text<'_>, _span: Span) {
        match self.level() {
            Level::Member => {
                self.is_list &= !self.edits.is_empty();
                self.member = match key.as_str() {
                    Some("data" | "models") => Member::Models,
                    // Anthropic's, whose list has the path of OpenAI's: no dialect tells them apart.
                    Some("first_id") => Member::Page(0),
                    Some("last_id") => Member::Page(1),
                    _ => Member::Other,
                };
            }
            Level::Field => {
                self.entry.next = NAMES.iter().position(|name| key.is(name));
                let next = self
                    .entry
                    .next
                    .and_then(|next| self.entry.names.get_mut(next));
                if let Some(name) = next {
                    self.refused |= name.seen;
                    name.seen = true;
                }
            }
            Level::Document | Level::Entry | Level::Inside => {}
        }
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        match (self.level(), self.member) {
            (Level::Document | Level::Entry, _) | (Level::Member, Member::Models) => {
                self.refused = true;
            }
            (Level::Member, Member::Page(end)) => self.page.push((span, end)),
            (Level::Field, _) => {
                let next = self
                    .entry
                    .next
                    .and_then(|next| self.entry.names.get_mut(next));
                match (next, value) {
                    (Some(name), Scalar::String(text)) => {
                        name.text = Some(text.complete(self.body, span));
                    }
                    (None, _) | (_, Scalar::Null) => {}
                    _ => self.refused = true,
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(body: &str, dialect: Dialect) -> Option<String> {
        let allowed = |model: &str| model.starts_with("good");
        filter(body.as_bytes(), dialect, &allowed).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn lists_of_every_dialect_are_cut_down() {
        for (dialect, body, expected) in [
            (
                Dialect::OpenAi,
                r#"{"object": "list", "data": [{"id":"good-1","z":1,"a": [2]}, {"id":"bad"}, {"id":"good-2"}], "more":1.50}"#,
                r#"{"object": "list", "data": [{"id":"good-1","z":1,"a": [2]},{"id":"good-2"}], "more":1.50}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"data":[{"id":"bad"}]}"#,
                r#"{"data":[]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"[{"id":"bad"},{"id":"good"}]"#,
                r#"[{"id":"good"}]"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"d\u0061ta":[{"id":"b\u0061d"},{"id":"go\u006fd"}]}"#,
                r#"{"d\u0061ta":[{"id":"go\u006fd"}]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"models":[{"name":"bad","model":"bad"},{"name":"good"}],"data":[{"id":"good","name":"Bad"},{"id":"bad","name":"good"}]}"#,
                r#"{"models":[{"name":"good"}],"data":[{"id":"good","name":"Bad"}]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"data":[{"id":"models/good"},{"id":"models/bad"}]}"#,
                r#"{"data":[{"id":"models/good"}]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"data":[{"id":"bad-1"},{"id":"good-1"},{"id":"good-2"},{"id":"bad-2"}],"has_more":true,"first_id":"bad-1","last_id":"bad-2"}"#,
                r#"{"data":[{"id":"good-1"},{"id":"good-2"}],"has_more":true,"first_id":"good-1","last_id":"good-2"}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"first_id":"bad","last_id":"bad","data":[{"id":"bad"}],"has_more":false}"#,
                r#"{"first_id":null,"last_id":null,"data":[],"has_more":false}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"models":[{"name":"models/good","version":"1"},{"name":"models/bad"},{"name":"tunedModels/good"}],"nextPageToken":"x"}"#,
                r#"{"models":[{"name":"models/good","version":"1"},{"name":"tunedModels/good"}],"nextPageToken":"x"}"#,
            ),
            (Dialect::Gemini, "{}", "{}"),
        ] {
            assert_eq!(filtered(body, dialect).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_list_does_not_pass() {
        for body in [
            "",
            "null",
            r#""bad""#,
            "<html>",
            r#"{"data":[{"id":"good"}]"#,
            r#"{"data":[{"id":"good"}]} x"#,
            r#"{"data":{"id":"bad"}}"#,
            r#"{"data":["bad"]}"#,
            r#"{"data":[{"id":7}]}"#,
            r#"{"data":[{"object":"model"}]}"#,
            r#"{"data":[{"id":"good","id":"bad"}]}"#,
            r#"{"publisherModels":[{"name":"bad"}]}"#,
        ] {
            assert_eq!(filtered(body, Dialect::OpenAi), None, "{body}");
        }
    }
}
