//! What changed between two texts, line by line, as `diff -u` shows it.

use std::fmt::Write as _;

/// Lines around a change that are shown with it.
const AROUND: usize = 3;
/// Above this many comparisons everything between the first and the last change is shown as changed.
const MAX_WORK: usize = 25_000_000;

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

/// The longest common subsequence, between what is alike at both ends.
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

/// Which lines of both are the same, in order.
fn common(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    if a.len().saturating_mul(b.len()) > MAX_WORK {
        return Vec::new();
    }
    // Row by row from the end: how many lines the rest of both has in common.
    let mut table = vec![vec![0_u32; b.len().saturating_add(1)]];
    for line in a.iter().rev() {
        let below = table.last().cloned().unwrap_or_default();
        let mut row = vec![0_u32; b.len().saturating_add(1)];
        for (j, other) in b.iter().enumerate().rev() {
            let get = |row: &[u32], at: usize| row.get(at).copied().unwrap_or_default();
            let next = j.saturating_add(1);
            let best = if line == other {
                get(&below, next).saturating_add(1)
            } else {
                get(&below, j).max(get(&row, next))
            };
            if let Some(cell) = row.get_mut(j) {
                *cell = best;
            }
        }
        table.push(row);
    }
    table.reverse();
    let get = |i: usize, j: usize| {
        let row = table.get(i);
        row.and_then(|row| row.get(j)).copied().unwrap_or_default()
    };
    let (mut i, mut j, mut pairs) = (0_usize, 0_usize, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (next_i, next_j) = (i.saturating_add(1), j.saturating_add(1));
        if x == y {
            pairs.push((i, j));
            (i, j) = (next_i, next_j);
        } else if get(next_i, j) >= get(i, next_j) {
            i = next_i;
        } else {
            j = next_j;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::unified;

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
}
