//! What changed between two texts, line by line, as `diff -u` shows it.

use std::fmt::Write as _;

/// Lines around a change that are shown with it.
const AROUND: usize = 3;
/// With more changed lines than this everything between the first and the last of them is shown as changed.
const MAX_CHANGES: usize = 2_000;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Line {
    Added(usize),
    Kept(usize, usize),
    Removed(usize),
}

/// Compares `old` with `new` and shows the lines of `shown`, which are the same ones without secrets.
pub(super) fn unified(name: &str, old: &str, new: &str, shown: (&str, &str)) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let lines = compare(&a, &b);
    let (old_shown, new_shown): (Vec<_>, Vec<_>) =
        (shown.0.lines().collect(), shown.1.lines().collect());
    let text = |lines: &[&str], at: usize| lines.get(at).copied().unwrap_or_default().to_owned();
    let changed: Vec<_> = (0..lines.len())
        .filter(|at| !matches!(lines.get(*at), Some(Line::Kept(..)) | None))
        .collect();
    let mut out = String::new();
    let mut next = changed.iter().peekable();
    while let Some(first) = next.next() {
        let start = first.saturating_sub(AROUND);
        let mut end = first.saturating_add(1);
        while let Some(more) = next.next_if(|at| at.saturating_sub(end) <= 2 * AROUND) {
            end = more.saturating_add(1);
        }
        let end = end.saturating_add(AROUND).min(lines.len());
        let hunk = lines.get(start..end).unwrap_or_default();
        if out.is_empty() {
            out = format!("--- {name}\n+++ {name}\n");
        }
        let before = lines.get(..start).unwrap_or_default();
        let count =
            |lines: &[Line], out: fn(&Line) -> bool| lines.iter().filter(|line| !out(line)).count();
        let added = |line: &Line| matches!(line, Line::Added(_));
        let removed = |line: &Line| matches!(line, Line::Removed(_));
        let range = |out: fn(&Line) -> bool| {
            let (skipped, here) = (count(before, out), count(hunk, out));
            let first = if here == 0 {
                skipped
            } else {
                skipped.saturating_add(1)
            };
            if here == 1 {
                first.to_string()
            } else {
                format!("{first},{here}")
            }
        };
        let _ = writeln!(out, "@@ -{} +{} @@", range(added), range(removed)); // a String takes everything
        for line in hunk {
            let (sign, line) = match line {
                Line::Added(at) => ('+', text(&new_shown, *at)),
                Line::Kept(_, at) => (' ', text(&new_shown, *at)),
                Line::Removed(at) => ('-', text(&old_shown, *at)),
            };
            out.push(sign);
            out += &line;
            out.push('\n');
        }
    }
    out
}

/// Keeps as many lines as it can, between what is alike at both ends.
fn compare(a: &[&str], b: &[&str]) -> Vec<Line> {
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (
        a.get(head..).unwrap_or_default(),
        b.get(head..).unwrap_or_default(),
    );
    let tail = rest_a.iter().rev().zip(rest_b.iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let (a_len, b_len) = (
        rest_a.len().saturating_sub(tail),
        rest_b.len().saturating_sub(tail),
    );
    let (mid_a, mid_b) = (
        rest_a.get(..a_len).unwrap_or_default(),
        rest_b.get(..b_len).unwrap_or_default(),
    );
    let at = |at: usize| head.saturating_add(at);
    let mut lines: Vec<_> = (0..head).map(|at| Line::Kept(at, at)).collect();
    let pairs = common(mid_a, mid_b);
    let (mut i, mut j) = (0_usize, 0_usize);
    for (x, y) in pairs.into_iter().chain([(a_len, b_len)]) {
        lines.extend((i..x).map(|i| Line::Removed(at(i))));
        lines.extend((j..y).map(|j| Line::Added(at(j))));
        if x < a_len {
            lines.push(Line::Kept(at(x), at(y)));
        }
        (i, j) = (x.saturating_add(1), y.saturating_add(1));
    }
    lines.extend(
        (0..tail).map(|k| Line::Kept(at(a_len.saturating_add(k)), at(b_len.saturating_add(k)))),
    );
    lines
}

/// Which lines of both are the same, in order: Myers' greedy search, whose work grows with what changed, not with the file.
fn common(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    // On diagonal `k` (as `k + changes`) the furthest line of `a`, for each number of changes.
    let mut furthest: Vec<Vec<usize>> = Vec::new();
    for changes in 0..=MAX_CHANGES {
        let mut row = Vec::with_capacity(changes.saturating_mul(2).saturating_add(1));
        for k in 0..=changes.saturating_mul(2) {
            let start = match furthest.last() {
                None => 0,
                Some(before) => step(before, k),
            };
            let x = slide(a, b, start, k, changes);
            row.push(x);
            if x >= a.len() && other(x, k, changes) >= Some(b.len()) {
                furthest.push(row);
                return trace((a.len(), b.len()), &furthest);
            }
        }
        furthest.push(row);
    }
    Vec::new()
}

/// The furthest that one more change gets to diagonal `k`: by a line of `b` (from `k - 1`), or by one of `a`.
///
/// Diagonals are counted from `changes` below the middle, so that `k` of a row is `k - 1` of the one before.
fn step(before: &[usize], k: usize) -> usize {
    let at = |at: Option<usize>| at.and_then(|at| before.get(at)).copied();
    let added = at(Some(k)); // diagonal one up: a line of `b`
    let removed = at(k.checked_sub(2)).map(|x| x.saturating_add(1)); // one down: a line of `a`
    let stayed = added.max(removed);
    stayed.unwrap_or_default()
}

/// The line of `b` on a diagonal.
fn other(x: usize, k: usize, changes: usize) -> Option<usize> {
    x.saturating_add(changes).checked_sub(k)
}

fn slide(a: &[&str], b: &[&str], mut x: usize, k: usize, changes: usize) -> usize {
    while let Some(y) = other(x, k, changes)
        && let (Some(one), Some(two)) = (a.get(x), b.get(y))
        && one == two
    {
        x = x.saturating_add(1);
    }
    x
}

/// The way that the search went, backwards.
fn trace(lengths: (usize, usize), furthest: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut x, mut y) = lengths;
    for (changes, _) in furthest.iter().enumerate().rev() {
        // `x - y = k - changes`
        let Some(k) = x.saturating_add(changes).checked_sub(y) else {
            return Vec::new();
        };
        let before = changes
            .checked_sub(1)
            .and_then(|before| furthest.get(before));
        let start = before.map_or(0, |before| step(before, k));
        while x > start && y > 0 {
            (x, y) = (x.saturating_sub(1), y.saturating_sub(1));
            pairs.push((x, y));
        }
        let Some(before) = before else {
            break;
        };
        let removed = k.checked_sub(2).and_then(|at| before.get(at));
        if removed.is_some_and(|removed| {
            removed.saturating_add(1) == start && before.get(k) < Some(&start)
        }) {
            x = x.saturating_sub(1);
        } else {
            y = y.saturating_sub(1);
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::{Line, compare, unified};
    use proptest::prelude::*;

    fn diff(old: &str, new: &str) -> String {
        unified("f", old, new, (old, new))
    }

    #[test]
    fn it_reads_as_diff_u_does() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
        let new = "a\nb\nC\nd\ne\nf\ng\nh\ni\nj\nk\nm\nn\n";
        assert_eq!(
            diff(old, new),
            "--- f\n+++ f\n@@ -1,6 +1,6 @@\n a\n b\n-c\n+C\n d\n e\n f\n@@ -9,5 +9,5 @@\n i\n j\n k\n-l\n m\n+n\n"
        );
        assert_eq!(diff(old, old), "");
        assert_eq!(diff("", "a\n"), "--- f\n+++ f\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(diff("a\n", ""), "--- f\n+++ f\n@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn secrets_are_compared_and_not_shown() {
        let text = unified("f", "k: a\n", "k: b\n", ("k: *\n", "k: *\n"));
        assert_eq!(text, "--- f\n+++ f\n@@ -1 +1 @@\n-k: *\n+k: *\n");
    }

    /// How many lines two texts have in common at most.
    #[expect(clippy::arithmetic_side_effects, reason = "a dozen lines")]
    fn longest(a: &[&str], b: &[&str]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for line in a {
            let mut corner = 0;
            for (j, other) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if line == other {
                    corner + 1
                } else {
                    above.max(row[j])
                };
                corner = above;
            }
        }
        row[b.len()]
    }

    proptest! {
        #[test]
        fn every_line_is_there_once_and_no_more_change_than_must(
            a in proptest::collection::vec("[abc]", 0..12),
            b in proptest::collection::vec("[abc]", 0..12),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = (a.iter().map(|line| &**line).collect(), b.iter().map(|line| &**line).collect());
            let lines = compare(&a, &b);
            let (mut old, mut new, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            for line in lines {
                match line {
                    Line::Added(at) => new.push(at),
                    Line::Removed(at) => old.push(at),
                    Line::Kept(one, two) => {
                        prop_assert_eq!(a[one], b[two]);
                        old.push(one);
                        new.push(two);
                        kept.push(one);
                    }
                }
            }
            prop_assert!(old.into_iter().eq(0..a.len()));
            prop_assert!(new.into_iter().eq(0..b.len()));
            prop_assert_eq!(kept.len(), longest(&a, &b));
        }
    }
}
