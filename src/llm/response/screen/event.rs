//! One event of an answer, with what is left of its texts.

use super::Framing;
use super::held::Running;
use crate::guardrail::Out;
use crate::json::{Span, edited};
use crate::llm::request::quoted;
use crate::llm::sse::BYTE_ORDER_MARK;
use std::collections::VecDeque;

/// An event, a line or a frame.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) raw: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
    pub(super) logprobs: Vec<Span>,
    pub(super) framing: Framing,
}

/// A piece of a text.
#[derive(Debug)]
pub(super) struct Piece {
    /// By its position.
    pub(super) text: usize,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where it stands in the event's data; `None`: it cannot be changed.
    pub(super) span: Option<Span>,
}

/// What of a text stays, and what comes in place of the rest.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) kept: VecDeque<(u64, u64)>,
    pub(super) labels: VecDeque<(u64, Vec<u8>)>,
}

impl Out for Changes {
    fn keep(&mut self, from: u64, to: u64) {
        match self.kept.back_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.kept.push_back((from, to)),
        }
    }

    fn label(&mut self, at: u64, label: &[u8]) {
        self.labels.push_back((at, label.to_vec()));
    }
}

impl Changes {
    /// What is left of a piece; `None` if all of it is.
    pub(super) fn of(&self, start: u64, end: u64, text: &[u8]) -> Option<Vec<u8>> {
        let labels = || {
            self.labels
                .iter()
                .filter(|(at, _)| (start..end).contains(at))
        };
        let whole = |kept: &(u64, u64)| kept.0 <= start && end <= kept.1;
        if start == end || (labels().next().is_none() && self.kept.iter().any(whole)) {
            return None;
        }
        let mut left = Vec::new();
        let mut labels = labels().peekable();
        for (from, to) in &self.kept {
            let (from, to) = ((*from).max(start), (*to).min(end));
            if from >= to {
                continue;
            }
            while let Some((_, label)) = labels.next_if(|(at, _)| *at <= from) {
                left.extend_from_slice(label);
            }
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            left.extend_from_slice(text.get(within(from)..within(to)).unwrap_or_default());
        }
        for (_, label) in labels {
            left.extend_from_slice(label);
        }
        Some(left)
    }

    /// Nobody will ask for what stands before this.
    pub(super) fn forget(&mut self, before: u64) {
        while self.kept.front().is_some_and(|(_, end)| *end < before) {
            self.kept.pop_front();
        }
        while self.labels.front().is_some_and(|(at, _)| *at < before) {
            self.labels.pop_front();
        }
    }
}

impl Event {
    /// Writes what is left of it; `false` where something would have to be taken out and cannot be.
    pub(super) fn write(&self, texts: &[Running], out: &mut Vec<u8>) -> bool {
        let mut changes = Vec::new();
        for piece in &self.pieces {
            let text = piece
                .span
                .map(|span| span.says(&self.data))
                .unwrap_or_default();
            let left = texts
                .get(piece.text)
                .and_then(|running| (running.changes).of(piece.start, piece.end, text.as_bytes()));
            match (left, piece.span) {
                (None, _) => {}
                (Some(_), None) => return false,
                (Some(left), Some(span)) => {
                    changes.push((span, quoted(&String::from_utf8_lossy(&left))));
                }
            }
        }
        if changes.is_empty() {
            out.extend_from_slice(&self.raw);
            return true;
        }
        // They spell the text once more.
        changes.extend(self.logprobs.iter().map(|span| (*span, "null".to_owned())));
        let Some(data) = edited(&self.data, changes) else {
            return false;
        };
        match self.framing {
            Framing::Lines => {
                out.extend_from_slice(&data);
                out.push(b'\n');
            }
            Framing::Events => self.write_lines(&data, out),
            Framing::Whole => out.extend_from_slice(&data),
            Framing::Frames => return false,
        }
        true
    }

    /// The event's lines, with other data: line ends in them stand between tokens.
    fn write_lines(&self, data: &[u8], out: &mut Vec<u8>) {
        let mut written = false;
        // A mark may begin the stream, and is no part of its first line.
        let raw = self.raw.strip_prefix(BYTE_ORDER_MARK);
        for line in raw
            .unwrap_or(&self.raw)
            .split(|byte| matches!(byte, b'\n' | b'\r'))
        {
            let is_data = line
                .strip_prefix(b"data")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"));
            if line.is_empty() || (is_data && written) {
                continue;
            }
            if is_data {
                written = true;
                out.extend_from_slice(b"data: ");
                out.extend(
                    data.iter()
                        .map(|byte| if *byte == b'\n' { b' ' } else { *byte }),
                );
            } else {
                out.extend_from_slice(line);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}
