//! The part of a text that is looked at: some of what was, all of what comes next.

/// Nothing that is looked for is longer: whatever begins at a place is within so many bytes, and so is what must stand
/// before it.
pub(super) const REACH: usize = 160;

const ROOM: usize = 4096;

/// A text's bytes around the place that is looked at.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// The next place to look at.
    at: usize,
}

impl Window {
    /// Takes as much of the piece as there is room for, and returns the rest.
    pub(super) fn take<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let room = ROOM.saturating_sub(self.bytes.len());
        let (taken, rest) = piece.split_at_checked(room).unwrap_or((piece, &[]));
        self.bytes.extend_from_slice(taken);
        rest
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    /// Visits the places that were not visited yet, as far as it can be known what begins there: enough of the text is there,
    /// or its end, or the place is settled without. What is shown of the text
    /// reaches no further than can be seen wherever it was cut: nothing must hang on that.
    pub(super) fn each(
        &mut self,
        end: bool,
        mut settled: impl FnMut(&[u8], usize) -> bool,
        mut visit: impl FnMut(&[u8], usize),
    ) {
        let until = if end {
            self.bytes.len()
        } else {
            self.bytes.len().saturating_sub(REACH)
        };
        while self.at < until || (self.at < self.bytes.len() && settled(&self.bytes, self.at)) {
            let reach = self.bytes.get(..self.at.saturating_add(REACH));
            visit(reach.unwrap_or(&self.bytes), self.at);
            self.at = self.at.saturating_add(1);
        }
    }

    /// All of the text that is there.
    pub(super) fn text(&self) -> &[u8] {
        &self.bytes
    }

    /// The text up to the next place to look at.
    pub(super) fn seen(&self) -> &[u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }

    /// Lets go of what is out of reach, once it is much. So many bytes are gone at the beginning.
    pub(super) fn forget(&mut self) -> usize {
        // Half full at the least, so that each byte is moved once or twice.
        if self.bytes.len() >= ROOM {
            let gone = self.at.saturating_sub(REACH);
            self.bytes.drain(..gone);
            self.at = self.at.saturating_sub(gone);
            return gone;
        }
        0
    }
}
