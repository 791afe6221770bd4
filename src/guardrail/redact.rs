//! Text in, the same text out, with labels in place of what must not be in it.
//!
//! What is taken out at a place is the longest thing that begins there; what overlaps with it goes too. Cutting the text
//! elsewhere changes nothing.

use super::entity::{Entity, Extent};
use super::nested::{Nested, Part};
use super::pattern::Scan;
use super::secret::{is_token, run};
use super::settled::is_settled;
use super::window::{REACH, Window};
use super::{Findings, Kind, Search, visit};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What is taken out of a text.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// What is looked for.
    pub search: Rc<Search>,
    /// The kinds of it that are taken out.
    pub kinds: Findings,
}

/// Takes out of texts what must not be in them. At most [`Redactor::HELD`] bytes of a text are held back; of prose it is the
/// last word.
#[derive(Debug, Default)]
pub struct Redactor {
    nested: Nested,
    window: Window,
    scan: Scan,
    findings: Findings,
    /// The text in the window up to here went out, or never will.
    done: usize,
    /// What of the last thing that was taken out may follow at `done`.
    tail: Tail,
    /// How much of the text stood before what is in the window.
    before: u64,
    places: Places,
    decided: u64,
}

/// Where the text goes, and the labels.
pub trait Out {
    /// The text from this byte up to that one stays.
    fn keep(&mut self, from: u64, to: u64);
    /// What stands at this byte of the text goes; this comes in its place.
    fn label(&mut self, at: u64, label: &[u8]);
}

/// Takes out of a whole text what must not be in it; `None` where there is nothing. And what it had in it, taken out or not.
pub fn redact(what: &Redaction, text: &[u8]) -> (Option<Vec<u8>>, Findings) {
    let mut redactor = Redactor::default();
    let mut left = Left {
        text,
        out: Vec::with_capacity(text.len()),
    };
    redactor.push(what, text, &mut left);
    redactor.end(what, &mut left);
    let out = left.out;
    ((out != text).then_some(out), redactor.findings)
}

/// What is left of a whole text.
pub(super) struct Left<'a> {
    pub(super) text: &'a [u8],
    pub(super) out: Vec<u8>,
}

impl Out for Left<'_> {
    fn keep(&mut self, from: u64, to: u64) {
        let at = |place| usize::try_from(place).unwrap_or(usize::MAX);
        let kept = self.text.get(at(from)..at(to));
        self.out.extend_from_slice(kept.unwrap_or_default());
    }

    fn label(&mut self, _: u64, label: &[u8]) {
        self.out.extend_from_slice(label);
    }
}

/// Where what is read of a document stands in the text, escapes and all.
#[derive(Debug, Default)]
struct Places {
    /// How much of the text was taken.
    raw: u64,
    /// Behind each escape and each quote, as far as it may still be asked for; in order.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    read: u64,
    raw: u64,
    /// Inside a string of the document.
    inside: bool,
}

impl Places {
    /// The last mark before a place. Nobody asks for an earlier one after that.
    fn last(&mut self, read: u64) -> Mark {
        while self.marks.get(1).is_some_and(|next| next.read <= read) {
            self.marks.pop_front();
        }
        let first = self.marks.front().copied();
        first.filter(|mark| mark.read <= read).unwrap_or_default()
    }

    fn raw(&mut self, read: u64) -> u64 {
        let mark = self.last(read);
        mark.raw.saturating_add(read.saturating_sub(mark.read))
    }
}

impl Redactor {
    /// The longest thing that can be told from text that goes on.
    pub const HELD: usize = REACH;

    /// Takes the next piece of a text, and gives out what goes in its place, as far as that can be known.
    pub fn push(&mut self, what: &Redaction, piece: &[u8], out: &mut impl Out) {
        if self.nested.is_prose(piece) {
            return self.take(what, Part::plain(piece), None, out);
        }
        let mut nested = std::mem::take(&mut self.nested);
        nested.read(piece, &mut |nested, part| {
            let inside = nested.is_document().then(|| nested.is_inside());
            self.take(what, part, inside, out);
        });
        self.nested = nested;
    }

    /// `inside`: of a document, whether what follows is inside a string.
    fn take(&mut self, what: &Redaction, part: Part<'_>, inside: Option<bool>, out: &mut dyn Out) {
        let mut text = part.text;
        self.places.raw = self.places.raw.saturating_add(part.raw as u64);
        if let Some(inside) = inside
            && (part.quote || part.raw != text.len() || self.places.marks.is_empty())
        {
            let known = self.window.text().len().saturating_add(text.len());
            self.places.marks.push_back(Mark {
                read: self.before.saturating_add(known as u64),
                raw: self.places.raw,
                inside,
            });
        }
        while !text.is_empty() {
            text = self.window.take(text);
            if part.quote && text.is_empty() {
                self.scan.cut(&what.search, self.window.text());
            }
            self.look(what, false, out);
        }
    }

    /// The text is over: what follows is another one.
    pub fn end(&mut self, what: &Redaction, out: &mut impl Out) {
        let mut nested = std::mem::take(&mut self.nested);
        nested.finish(&mut |_, part| self.take(what, part, None, out));
        self.look(what, true, out);
        self.window.clear();
        self.scan.clear();
        self.done = 0;
        self.tail = Tail::Nothing;
        self.before = 0;
        self.places = Places::default();
    }

    /// Up to where in the text it is known what goes and what stays.
    pub const fn decided(&self) -> u64 {
        self.decided
    }

    /// What all the texts had in them so far, taken out or not.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    fn look(&mut self, what: &Redaction, end: bool, out: &mut dyn Out) {
        let Self {
            window,
            scan,
            findings,
            done,
            tail,
            before,
            places,
            decided,
            ..
        } = self;
        let place = |at: usize| before.saturating_add(at as u64);
        scan.read(&what.search, window.text(), end);
        // What goes on beyond what can be seen takes steps that are the same however the text is cut.
        let goes_on = Cell::new(*tail != Tail::Nothing);
        let settled = |text: &[u8], at| !goes_on.get() && is_settled(&what.search, scan, text, at);
        window.each(end, settled, |text, at| {
            if *done == at {
                let (len, rest) = tail.take(text.get(at..).unwrap_or_default());
                *done = at.saturating_add(len);
                *tail = rest;
                goes_on.set(*tail != Tail::Nothing);
            }
            let mut longest: Option<(Kind, Extent)> = None;
            visit(
                &what.search,
                what.search.entities,
                scan,
                text,
                at,
                &mut |kind, extent| {
                    findings.insert(kind);
                    let longer = longest.is_none_or(|(_, known)| extent.len > known.len);
                    if longer && what.kinds.contains(kind) {
                        longest = Some((kind, extent));
                    }
                },
            );
            let Some((kind, extent)) = longest else {
                return;
            };
            if *done <= at {
                let from = places.raw(place(*done));
                let document = !places.marks.is_empty();
                let mark = places.last(place(at));
                let raw = mark.raw.saturating_add(place(at).saturating_sub(mark.read));
                out.keep(from, raw);
                let behind = at.checked_sub(1).and_then(|last| text.get(last));
                out.label(
                    raw,
                    &match (document && !mark.inside, behind) {
                        (false, _) => label(kind),
                        // Behind a sign there must be a number.
                        (true, Some(b'-')) => b"0".to_vec(),
                        (true, _) => [b"\"", &*label(kind), b"\""].concat(),
                    },
                );
            }
            let end = at.saturating_add(extent.len);
            if end > *done || (end == *done && *tail == Tail::Nothing) {
                *done = end;
                *tail = extent.tail;
                goes_on.set(*tail != Tail::Nothing);
            }
        });
        let seen = window.seen();
        if *done < seen.len() {
            out.keep(places.raw(place(*done)), places.raw(place(seen.len())));
            *done = seen.len();
        }
        let visited = seen.len();
        let gone = window.forget();
        scan.forget(visited, gone);
        *decided = places.raw(place(*done));
        *done = done.saturating_sub(gone);
        *before = place(gone);
    }
}

/// `[REDACTED_CREDIT_CARD]`
fn label(kind: Kind) -> Vec<u8> {
    let name = match kind {
        Kind::Entity(entity) => Entity::name(entity),
        Kind::Words(_) => "keyword",
    };
    let mut label = b"[REDACTED_".to_vec();
    label.extend(name.bytes().map(|byte| byte.to_ascii_uppercase()));
    label.push(b']');
    label
}

/// What belongs to something behind the part by which it was told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Tail {
    #[default]
    Nothing,
    /// The rest of a token.
    Token,
    /// The rest of a private key as RFC 7468 has it: dashes in a row so far, and how often there were enough of them.
    Key { dashes: u8, fences: u8 },
}

impl Tail {
    /// Behind the label of its first line.
    pub(super) const KEY: Self = Self::Key {
        dashes: 0,
        fences: 0,
    };

    /// How much of it begins `rest`, and what may follow behind that.
    pub(super) fn take(self, rest: &[u8]) -> (usize, Self) {
        match self {
            Self::Nothing => (0, Self::Nothing),
            Self::Token => {
                let token = run(rest, is_token);
                // A dot that ends a sentence is none of it.
                let dots = token.iter().rev().take_while(|byte| **byte == b'.').count();
                let len = token.len().saturating_sub(dots);
                let cut = token.len() >= REACH && len > 0;
                (len, if cut { Self::Token } else { Self::Nothing })
            }
            Self::Key {
                mut dashes,
                mut fences,
            } => {
                let mut len = 0_usize;
                for byte in rest {
                    // The last fence ends it, with whatever else no key has in it.
                    if fences == FENCES || !is_key(*byte) {
                        return (len, Self::Nothing);
                    }
                    dashes = if *byte == b'-' {
                        dashes.saturating_add(1)
                    } else {
                        0
                    };
                    if dashes == FENCE {
                        fences = fences.saturating_add(1);
                    }
                    len = len.saturating_add(1);
                }
                (len, Self::Key { dashes, fences })
            }
        }
    }
}

/// Dashes around a label.
const FENCE: u8 = 5;
/// Behind the first label, and around the last.
const FENCES: u8 = 3;

/// Base64, line ends and the labels around it, also where they are escaped; headers as older keys have them.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=-\\:,".contains(&byte)
}
