//! Which known name a misspelt one was meant to be.

/// The nearest candidate, if it is near enough that a person would see the slip.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 64; // beyond it the word is not a slip, and the distance costs its square
    if word.len() > LONGEST {
        return None;
    }
    let near = (word.len() / 3).max(1);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance with swapped neighbours counted once; hyphens and case are free.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<u8> {
        let bytes = text
            .bytes()
            .map(|byte| if byte == b'-' { b'_' } else { byte });
        bytes.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, x) in (1..).zip(&a) {
        let mut current = vec![row];
        let mut left_letter = None;
        for (column, y) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column).saturating_add(usize::from(x != y));
            let removed = at(&above, column.saturating_add(1)).saturating_add(1);
            let added = at(&current, column).saturating_add(1);
            let mut best = replaced.min(removed).min(added);
            if previous == Some(y) && left_letter == Some(x) {
                let swapped = column
                    .checked_sub(1)
                    .map_or(usize::MAX, |column| at(&before, column));
                best = best.min(swapped.saturating_add(1));
            }
            current.push(best);
            left_letter = Some(y);
        }
        before = std::mem::replace(&mut above, current);
        previous = Some(x);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("mode", "mode", 0),
            ("mdoe", "mode", 1),
            ("modes", "mode", 1),
            ("allowed-models", "allowed_models", 0),
            ("kitten", "sitting", 3),
            ("tokens_per_minit", "tokens_per_minute", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_slips_are_corrected() {
        let names = || ["api_key", "api_keys", "name"].into_iter();
        assert_eq!(nearest("api_kyes", names()), Some("api_keys"));
        assert_eq!(nearest("apikey", names()), Some("api_key"));
        assert_eq!(nearest("password", names()), None);
        assert_eq!(nearest(&"api_key".repeat(10_000), names()), None);
    }
}
