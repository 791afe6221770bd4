//! Removes from a chat stream the chunk that only says the usage.
//!
//! Each event is held until it is known whether it stays; what stays keeps its bytes. Chunks that hold
//! whole events that stay are not copied. Is told what an event is, and does not look into it.

use super::{Forward, MAX_EVENT};

/// Holds each event until it is known whether it stays.
#[derive(Debug, Default)]
pub(super) struct Strip {
    /// The event, as far as earlier chunks had it.
    pub(super) held: Vec<u8>,
    /// What goes on in place of the chunk.
    out: Vec<u8>,
    /// The event is too large to be held; it stays.
    passing: bool,
    /// The last event was removed.
    removed: bool,
}

/// [`Strip`] at work on a chunk.
pub(super) struct Edit<'s, 'c> {
    strip: &'s mut Strip,
    chunk: &'c [u8],
    /// Bytes of the chunk that are before the stream.
    skipped: usize,
    /// Where the part of the chunk begins that stays but is not in `out` yet.
    kept: usize,
    /// Where in the chunk the event begins.
    event: usize,
}

impl Strip {
    /// `skipped` bytes at the chunk's start are before the stream, and stay.
    pub(super) fn edit<'c>(&mut self, chunk: &'c [u8], skipped: usize) -> Edit<'_, 'c> {
        self.out.clear();
        Edit {
            strip: self,
            chunk,
            skipped,
            kept: 0,
            event: skipped,
        }
    }
}

impl<'s> Edit<'s, '_> {
    /// The event ends before byte `at` of the stream's part of the chunk.
    pub(super) fn end(&mut self, at: usize, is_usage_only: bool) {
        let at = at.saturating_add(self.skipped);
        let fits = self.fits(at);
        self.strip.removed = is_usage_only && fits;
        if self.strip.removed {
            self.keep(self.event);
            self.strip.held.clear();
            self.kept = at;
        } else {
            self.strip.out.append(&mut self.strip.held);
        }
        self.strip.passing = false;
        self.event = at;
    }

    /// The line feed that the chunk begins with is still the last event's.
    pub(super) fn end_line_feed(&mut self) {
        self.event = 1;
        if self.strip.removed {
            self.kept = 1;
        }
    }

    /// The chunk is over.
    pub(super) fn finish(mut self) -> Forward<'s> {
        let end = self.chunk.len();
        if !self.strip.passing && !self.fits(end) {
            self.strip.passing = true;
            self.strip.out.append(&mut self.strip.held);
        }
        if self.strip.passing || self.event == end {
            if self.kept == 0 && self.strip.out.is_empty() && self.strip.held.is_empty() {
                return Forward::Unchanged;
            }
            self.keep(end);
        } else {
            self.keep(self.event);
            let rest = self.chunk.get(self.event..).unwrap_or_default();
            self.strip.held.extend_from_slice(rest);
        }
        Forward::Replace(&self.strip.out)
    }

    /// The stream is over.
    pub(super) fn release(self) -> Forward<'s> {
        self.strip.out.append(&mut self.strip.held);
        if self.strip.out.is_empty() {
            return Forward::Unchanged;
        }
        Forward::Replace(&self.strip.out)
    }

    /// Whether the event, up to byte `end` of the chunk, is not too large to be held.
    fn fits(&self, end: usize) -> bool {
        let here = end.saturating_sub(self.event);
        !self.strip.passing && self.strip.held.len().saturating_add(here) <= MAX_EVENT
    }

    /// Puts into `out` what of the chunk stays and stands before byte `end`.
    fn keep(&mut self, end: usize) {
        let run = self.chunk.get(self.kept..end).unwrap_or_default();
        // At once for all that may follow.
        let rest = self.chunk.len().saturating_sub(self.kept);
        self.strip.out.reserve(rest);
        self.strip.out.extend_from_slice(run);
        self.kept = end;
    }
}
