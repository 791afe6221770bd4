//! Text in, the same text out, with labels in place of what must not be in it.
//!
//! What is taken out at a place is the longest thing that begins there; what overlaps with it goes too. Cutting the text
//! elsewhere changes nothing.

use super::entity::{Entity, Extent};
use super::pattern::Scan;
use super::secret::{is_token, run};
use super::settled::is_settled;
use super::window::{REACH, Window};
use super::{Findings, Kind, Search, visit};
use std::cell::Cell;
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
    window: Window,
    scan: Scan,
    findings: Findings,
    /// The text in the window up to here went out, or never will.
    done: usize,
    /// What of the last thing that was taken out may follow at `done`.
    tail: Tail,
    /// How much of the text stood before what is in the window.
    before: u64,
}

/// Where the text goes, and the labels.
pub trait Out {
    /// What stands at this byte of the text stays.
    fn keep(&mut self, at: u64, text: &[u8]);
    /// What stands at this byte of the text goes; this comes in its place.
    fn label(&mut self, at: u64, label: &[u8]);
}

impl Out for Vec<u8> {
    fn keep(&mut self, _: u64, text: &[u8]) {
        self.extend_from_slice(text);
    }

    fn label(&mut self, _: u64, label: &[u8]) {
        self.extend_from_slice(label);
    }
}

impl Redactor {
    /// The longest thing that can be told from text that goes on.
    pub const HELD: usize = REACH;

    /// Takes the next piece of a text, and gives out what goes in its place, as far as that can be known.
    pub fn push(&mut self, what: &Redaction, mut piece: &[u8], out: &mut impl Out) {
        while !piece.is_empty() {
            piece = self.window.take(piece);
            self.look(what, false, out);
        }
    }

    /// The text is over: what follows is another one.
    pub fn end(&mut self, what: &Redaction, out: &mut impl Out) {
        self.look(what, true, out);
        self.window.clear();
        self.scan.clear();
        self.done = 0;
        self.tail = Tail::Nothing;
        self.before = 0;
    }

    /// Up to where in the text it is known what goes and what stays.
    pub fn decided(&self) -> u64 {
        self.before.saturating_add(self.done as u64)
    }

    /// What all the texts had in them so far, taken out or not.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What all the texts had in them, taken out or not.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    fn look(&mut self, what: &Redaction, end: bool, out: &mut dyn Out) {
        let Self {
            window,
            scan,
            findings,
            done,
            tail,
            before,
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
                out.keep(place(*done), text.get(*done..at).unwrap_or_default());
                out.label(place(at), &label(kind));
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
            out.keep(place(*done), seen.get(*done..).unwrap_or_default());
            *done = seen.len();
        }
        let visited = seen.len();
        let gone = window.forget();
        scan.forget(visited, gone);
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
