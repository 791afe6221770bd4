use super::*;
use crate::guardrail::tests::redact::redacted;
use crate::guardrail::{Findings, Keywords, Redaction, Screen, Search, Words};
use proptest::prelude::*;
use std::rc::Rc;

fn search(patterns: &[&str]) -> Search {
    let patterns: Vec<String> = patterns.iter().map(|source| (*source).to_owned()).collect();
    Search {
        words: vec![Keywords::new(Words::default(), &patterns).unwrap()],
        ..Search::default()
    }
}

/// The text with `#` in place of each match.
fn marked(patterns: &[&str], pieces: &[&[u8]]) -> String {
    let search = search(patterns);
    let mut screen = Screen::default();
    let kinds = Findings {
        words: vec![0],
        ..Findings::default()
    };
    for piece in pieces {
        screen.push(&search, piece);
    }
    screen.end(&search);
    let found = screen.into_findings() == kinds;
    let what = Redaction {
        search: Rc::new(search),
        kinds,
    };
    let out = redacted(&what, pieces);
    assert_eq!(found, out.contains("[REDACTED_KEYWORD]"));
    out.replace("[REDACTED_KEYWORD]", "#")
}

#[test]
fn what_is_found_is_the_longest() {
    for (pattern, text, new) in [
        (
            "proj-[0-9]{4}",
            "see PROJ-1234 and proj-123, proj-12345",
            "see # and proj-123, #5",
        ),
        (
            r"\bproj-\d{4}\b",
            "proj-1234 xproj-1234 proj-12345 (Proj-0000)",
            "# xproj-1234 proj-12345 (#)",
        ),
        ("(?i)a|bc|bcd", "xabcdx", "x##x"),
        ("colou?r", "Color colour colouur", "# # colouur"),
        (r"(?:ab){2,3}", "ababababab ab", "# ab"),
        (r"[a-c_][^a-c_\s]x{0,2}", "a1xxx bb _-", "#x bb #"),
        (r"\w\W\S\s\D\d", "a-b c1", "#"),
        (r"a.c", "abc a\nc aéc a🦀c", "# a\nc # #"),
        ("[à-ü]{2}机?", "éé机 é机", "# é机"),
        (r"\[\]\{\}\.\\\ \-", r"- []{}.\ -", "- #"),
        ("a]}", "a]}", "#"),
        ("[]a-]{2}", "]- b", "# b"),
        ("[^é]é", "éé aé", "éé #"),
        ("x(?:a{0,2}b|)y", "xy xby xaaby xaaaby", "# # # xaaaby"),
        ("a{3}?", "aaaa", "#"),
        (r"\b机密\b", "这是机密文件", "这是#文件"),
        ("(a{0,2}){2}b", "aaaaab b", "a# #"),
    ] {
        assert_eq!(marked(&[pattern], &[text.as_bytes()]), new, "{pattern}");
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(marked(&[pattern], &single), new, "{pattern}");
    }
    assert_eq!(marked(&["ab", "c{2}"], &[b"xabcc-cc"]), "x##-#");
}

#[test]
fn a_list_may_have_words_too() {
    let words = Words::new(["falcon".to_owned()]);
    let mut search = search(&[]);
    search
        .words
        .push(Keywords::new(words, &["f[0-9]{2}".to_owned()]).unwrap());
    for text in ["a Falcon", "an F35"] {
        let mut screen = Screen::default();
        screen.push(&search, text.as_bytes());
        screen.end(&search);
        assert_eq!(screen.into_findings().words, [1], "{text}");
    }
}

#[test]
fn what_is_no_pattern_says_why() {
    for (source, why) in [
        ("", "matches the empty text, which is everywhere"),
        ("a?", "matches the empty text, which is everywhere"),
        ("a|(b{0,3})", "matches the empty text, which is everywhere"),
        (
            "a+",
            "can match text of any length: say how much at most, like `{1,20}`",
        ),
        (
            "(ab*)c",
            "can match text of any length: say how much at most, like `{1,20}`",
        ),
        (
            "a{2,}",
            "can match text of any length: say how much at most, like `{1,20}`",
        ),
        ("a{157}", "can match more than 156 bytes"),
        (".{40}", "can match more than 156 bytes"),
        ("(a{20}){20}", "can match more than 156 bytes"),
        ("a{300}", "can match more than 156 bytes"),
        (
            "(a|b|c){100}",
            "is too large: counted repetitions count each time",
        ),
        (
            "((a?){9}){17}b",
            "is too large: counted repetitions count each time",
        ),
        (
            "(((((((){9}){9}){9}){9}){9}){9}){9}",
            "is too large: counted repetitions count each time",
        ),
        (
            "a{2}{3}",
            "has nothing to repeat (a character itself has a `\\` before it)",
        ),
        (
            "((((((((((((((((((a))))))))))))))))))",
            "is too large: counted repetitions count each time",
        ),
        ("a{1,x}", "has a `{…}` that is not `{2}` or `{2,4}`"),
        ("a{4,2}", "has a `{…}` that is not `{2}` or `{2,4}`"),
        ("a{}", "has a `{…}` that is not `{2}` or `{2,4}`"),
        (
            "{2}",
            "has nothing to repeat (a character itself has a `\\` before it)",
        ),
        (
            "a|*b",
            "has nothing to repeat (a character itself has a `\\` before it)",
        ),
        ("(a", "has a `(` too many"),
        ("a)", "has a `)` too many"),
        ("[a", "has a `[` too many"),
        ("[]", "has a `[` too many"),
        ("[[:alpha:]]", "has a `[` inside of `[…]`: write `\\[`"),
        ("[z-a]", "has a range from high to low"),
        (r"[a-\d]", "has a range without an end"),
        (r"[é\D]", "has a class that cannot be joined with others"),
        (r"\p", "has an escape that is not known"),
        (r"\1", "has an escape that is not known"),
        ("a\\", "ends with a backslash"),
        (
            r"a\bb",
            "has a `\\b` inside: it may stand at the beginning and at the end",
        ),
        (r"\ba|b\b", "needs a group around `|` beside `\\b`"),
        (
            "(?=a)",
            "has a group of a kind that is not known; `(?:…)` is",
        ),
    ] {
        let error = Pattern::new(source).expect_err(source).to_string();
        assert_eq!(error, why, "{source}");
    }
    assert_eq!(Pattern::MAX, 156);
    assert!(Pattern::new("a{156}").is_ok());
    let start = Pattern::new("^a").expect_err("an anchor").to_string();
    assert!(start.starts_with("has `^` or `$`"), "{start}");
}

/// A pattern as its author sees it.
#[derive(Clone, Debug)]
enum Node {
    Choice(Vec<Self>),
    Class(&'static str, fn(char) -> bool),
    Repeat(Box<Self>, usize, usize),
    Sequence(Vec<Self>),
}

impl Node {
    fn source(&self) -> String {
        let sources = |nodes: &[Self]| -> Vec<String> { nodes.iter().map(Self::source).collect() };
        match self {
            Self::Choice(nodes) => format!("(?:{})", sources(nodes).join("|")),
            Self::Class(source, _) => (*source).to_owned(),
            Self::Repeat(node, 0, 1) => format!("({})?", node.source()),
            Self::Repeat(node, least, most) => format!("({}){{{least},{most}}}", node.source()),
            Self::Sequence(nodes) => sources(nodes).concat(),
        }
    }

    /// Where its matches that begin at a place end: slowly, and as the definition has it.
    fn ends(&self, text: &[char], at: usize) -> Vec<usize> {
        let further = |node: &Self, from: &[usize]| {
            let mut to: Vec<_> = from.iter().flat_map(|at| node.ends(text, *at)).collect();
            to.sort_unstable();
            to.dedup();
            to
        };
        match self {
            Self::Class(_, has) => {
                let fits = text.get(at).is_some_and(|char| has(*char));
                fits.then_some(at.saturating_add(1)).into_iter().collect()
            }
            Self::Choice(nodes) => nodes.iter().flat_map(|node| node.ends(text, at)).collect(),
            Self::Sequence(nodes) => nodes
                .iter()
                .fold(vec![at], |from, node| further(node, &from)),
            Self::Repeat(node, least, most) => {
                let mut from = vec![at];
                let mut all = Vec::new();
                for count in 0..=*most {
                    if count >= *least {
                        all.extend(&from);
                    }
                    from = further(node, &from);
                }
                all
            }
        }
    }

    fn mark(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        let mut done = 0;
        for (at, char) in chars.iter().enumerate() {
            let longest = self.ends(&chars, at).into_iter().max();
            if let Some(end) = longest.filter(|end| *end > at) {
                if at >= done {
                    out.push('#');
                }
                done = done.max(end);
            }
            if at >= done {
                out.push(*char);
            }
        }
        out
    }
}

fn nodes() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Class("a", |char| char == 'a')),
        Just(Node::Class("B", |char| char == 'b')),
        Just(Node::Class("é", |char| char == 'é')),
        Just(Node::Class("[ab]", |char| matches!(char, 'a' | 'b'))),
        Just(Node::Class("[^a]", |char| char != 'a')),
        Just(Node::Class(r"\w", |char| char.is_ascii_alphanumeric())),
        Just(Node::Class("[é-ü1]", |char| matches!(
            char,
            'é'..='ü' | '1'
        ))),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Node::Sequence),
            proptest::collection::vec(inner.clone(), 2..3).prop_map(Node::Choice),
            (inner, 0_usize..3, 0_usize..4).prop_map(|(node, least, most)| Node::Repeat(
                Box::new(node),
                least,
                least.max(most)
            )),
        ]
    })
}

proptest! {
    #[test]
    fn finds_what_the_definition_says(node in nodes(), text in "[abcéü1]{0,40}", cut in 0_usize..60) {
        let source = node.source();
        match Pattern::new(&source) {
            Ok(_) => {}
            Err(PatternError::EMPTY) => {
                prop_assert!(node.ends(&[], 0).contains(&0), "{}", source);
                return Ok(());
            }
            Err(error) => {
                prop_assert!(matches!(error, PatternError::LARGE | PatternError::LONG), "{}: {}", source, error);
                return Ok(());
            }
        }
        let cut = cut.min(text.len());
        let pieces = [&text.as_bytes()[..cut], &text.as_bytes()[cut..]];
        prop_assert_eq!(marked(&[&source], &pieces), node.mark(&text), "{}", source);
    }

    #[test]
    fn any_source_is_read(source in "[a-c\\[\\](){}?*+|,0-9\\\\.^-]{0,20}", any in "\\PC{0,10}") {
        _ = Pattern::new(&source);
        _ = Pattern::new(&any);
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400) {
        let patterns = [r"[^a]{2}b", r"\b\w{3}\b", "é"];
        let cut = cut.min(bytes.len());
        let whole = marked(&patterns, &[&bytes]);
        prop_assert_eq!(marked(&patterns, &[&bytes[..cut], &bytes[cut..]]), whole);
    }
}
