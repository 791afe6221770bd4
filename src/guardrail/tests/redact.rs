use super::{corpus, everything};
use crate::guardrail::redact::Left;
use crate::guardrail::{Entities, Entity, Findings, Keywords, Redaction, Redactor, Words, redact};
use proptest::prelude::*;
use std::rc::Rc;

const WORDS: [&str; 3] = ["Falcon", "Falcon Nine", "机密"];
const PATTERNS: [&str; 2] = [r"\bproj-\d{2,4}\b", "zz[a-z ]{0,9}!"];

fn taking(entities: Entities) -> Redaction {
    let mut search = everything();
    search.words = vec![
        Keywords::new(
            Words::new(WORDS.map(str::to_owned)),
            &PATTERNS.map(str::to_owned),
        )
        .unwrap(),
    ];
    Redaction {
        search: Rc::new(search),
        kinds: Findings {
            entities,
            words: vec![0],
        },
    }
}

fn all() -> Redaction {
    taking(everything().entities)
}

/// What is left of a text that comes in pieces.
pub(in crate::guardrail) fn redacted(what: &Redaction, pieces: &[&[u8]]) -> String {
    let text = pieces.concat();
    let mut redactor = Redactor::default();
    let mut left = Left {
        text: &text,
        out: Vec::new(),
    };
    for piece in pieces {
        redactor.push(what, piece, &mut left);
    }
    redactor.end(what, &mut left);
    String::from_utf8_lossy(&left.out).into_owned()
}

fn all_of(text: &str) -> String {
    redacted(&all(), &[text.as_bytes()])
}

#[test]
fn labels_stand_in_place_of_what_was_there() {
    for (text, new) in [
        ("", ""),
        ("nothing here", "nothing here"),
        ("4111111111111111", "[REDACTED_CREDIT_CARD]"),
        (
            "My card is 4111 1111 1111 1111, thanks.",
            "My card is [REDACTED_CREDIT_CARD], thanks.",
        ),
        (
            "SSN: 536-90-4399; ssn 536904399",
            "SSN: [REDACTED_SSN]; ssn [REDACTED_SSN]",
        ),
        (
            "é<jane.doe@example.co.uk>. Or bob@example.org.",
            "é<[REDACTED_EMAIL]>. Or [REDACTED_EMAIL].",
        ),
        (
            "call (415) 555-2671 or +44 20 7946 0958!",
            "call [REDACTED_PHONE] or [REDACTED_PHONE]!",
        ),
        (
            "to DE89 3704 0044 0532 0130 00 today",
            "to [REDACTED_IBAN] today",
        ),
        (
            "at [2001:db8::1]:443, 10.0.0.255:8080: down",
            "at [[REDACTED_IP_ADDRESS]]:443, [REDACTED_IP_ADDRESS]:8080: down",
        ),
        (
            "use sk-abcdefghijklmnopqrstuvwx1234567890.",
            "use [REDACTED_SECRET].",
        ),
        (
            "FALCON nine, falcon-9; 这是机密文件",
            "[REDACTED_KEYWORD], [REDACTED_KEYWORD]-9; 这是[REDACTED_KEYWORD]文件",
        ),
        // The longest of what begins at a place, and what overlaps with it.
        ("4111111111111111@example.com", "[REDACTED_EMAIL]"),
        ("a@b.com@c.com", "[REDACTED_EMAIL]"),
        ("536-90-4399 536-90-4399", "[REDACTED_SSN] [REDACTED_SSN]"),
        (
            "4111 1111 1111 1111 4012 8888 8888 1881 5555 5555 5555 4444 12/29",
            "[REDACTED_CREDIT_CARD] [REDACTED_CREDIT_CARD] [REDACTED_CREDIT_CARD] 12/29",
        ),
    ] {
        assert_eq!(all_of(text), new, "{text}");
    }
}

#[test]
fn only_what_is_wanted_is_taken_out() {
    let mut kinds = Entities::default();
    kinds.insert(Entity::Email);
    let text = "jane@example.com 536-90-4399 falcon";
    let (out, findings) = redact(&taking(kinds), text.as_bytes());
    assert_eq!(
        out.unwrap(),
        b"[REDACTED_EMAIL] 536-90-4399 [REDACTED_KEYWORD]"
    );
    // Found is what is looked for, taken out or not.
    let found: Vec<_> = findings.entities.names().collect();
    assert_eq!(found, ["ssn", "email"]);
}

/// What is longer than what can be seen at once goes to its end.
#[test]
fn long_things_are_taken_out_whole() {
    let token = format!("sk-{}", "a1B2c3D4.e5F6_g7-".repeat(100));
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.sig_-", "A1b2".repeat(500));
    let base64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n".repeat(26);
    let key = format!("-----BEGIN PRIVATE KEY-----\n{base64}-----END PRIVATE KEY-----");
    let old = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n{base64}-----END RSA PRIVATE KEY-----"
    );
    for thing in [&token, &jwt, &key, &old, &key.replace('\n', "\\n")] {
        let thing = thing.trim_end_matches('-');
        let fence = if thing.starts_with('-') { "-----" } else { "" };
        let text = format!("before {thing}{fence}, after. {thing}{fence} and so on");
        let new = "before [REDACTED_SECRET], after. [REDACTED_SECRET] and so on";
        assert_eq!(all_of(&text), new);
    }
    // A key that does not end takes with it what could be one.
    let open = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN. Next";
    assert_eq!(all_of(open), "[REDACTED_SECRET]. Next");
    assert_eq!(
        all_of("`-----BEGIN PRIVATE KEY-----` is how it begins"),
        "`[REDACTED_SECRET]` is how it begins"
    );
}

#[test]
fn cuts_change_nothing() {
    let what = all();
    let long = format!("-----BEGIN PRIVATE KEY----- {}.", "MIIE/+ab\n".repeat(60));
    let further = [
        &long,
        "FALCON nine, falcon-9; 这是机密文件",
        "Falcon Nin zz and so! zz and on, proj-12 proj-12345",
    ];
    for text in corpus().map(|(_, text)| text).chain(further) {
        let text = format!("{text} | {text}");
        let bytes = text.as_bytes();
        let whole = redacted(&what, &[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(redacted(&what, &single), whole, "{text}");
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(redacted(&what, &[head, tail]), whole, "{text} at {at}");
        }
    }
}

/// What was taken out is not found again, and what nobody looks for stays as it is.
#[test]
fn nothing_is_left_and_nothing_else_is_gone() {
    let what = all();
    for (entities, text) in corpus() {
        let new = all_of(text);
        if entities.is_empty() {
            assert_eq!(new, text);
        }
        for entity in entities {
            let label = format!("[REDACTED_{}]", entity.to_uppercase());
            assert!(new.contains("[REDACTED_"), "{label}: {text}: {new}");
        }
        assert_eq!(redacted(&what, &[new.as_bytes()]), new);
    }
}

/// However long a text, what is held back is not.
#[test]
fn little_is_held_back() {
    let what = all();
    let pieces = ["plain words ", "with a 4111111111", "111111 inside"];
    let mut redactor = Redactor::default();
    let text = pieces.concat().repeat(200);
    let mut left = Left {
        text: text.as_bytes(),
        out: Vec::new(),
    };
    let mut sent = 0;
    for piece in pieces.into_iter().cycle().take(600) {
        redactor.push(&what, piece.as_bytes(), &mut left);
        sent += piece.len();
        // A label is longer than the number.
        assert!(left.out.len() + Redactor::HELD >= sent);
    }
    // Of prose it is a word, of whatever language, or what a pattern might go on with.
    for text in [
        "In 2026 we sold 1,234 units (most of them in May), see chapter 4.1 of the fine report - and so on. ",
        "Le café n’est pas cher : 3,50 € à la gare, fermée le 24/12/2026 à 18 h 30 précises. ",
        "今天是2026年11月29日，温度是23.5度。你好，世界。",
        "fn main() { println!(\"{}\", a[0] + b.c - d::e); } // done ",
    ] {
        let mut redactor = Redactor::default();
        let text = text.repeat(5);
        let mut left = Left {
            text: text.as_bytes(),
            out: Vec::new(),
        };
        let (mut sent, mut held) = (0, 0);
        for char in text.chars() {
            redactor.push(&what, char.encode_utf8(&mut [0; 4]).as_bytes(), &mut left);
            sent += char.len_utf8();
            held = held.max(sent - left.out.len());
        }
        assert!(held <= 40, "{held}: {text}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_goes_out_the_same_however_cut(parts in proptest::collection::vec(
        prop_oneof![
            Just("4111 1111 1111 1111".to_owned()), Just("jane@example.com".to_owned()), Just("@".to_owned()),
            Just("sk-abcdefghijklmnopqrstuvwx1234567890".to_owned()), Just("x".repeat(150)), Just("1".repeat(170)),
            Just("-----BEGIN PRIVATE KEY-----".to_owned()), Just("-----END".to_owned()), Just(".".to_owned()),
            Just("falcon nine".to_owned()), Just("proj-123".to_owned()), Just("zz".to_owned()), Just("!".to_owned()),
            Just("DE89 3704 0044 0532 0130 00".to_owned()), Just("(415) 555-2671".to_owned()), Just("10.0.0.1".to_owned()),
            Just("2001:db8::1".to_owned()), Just("536-90-4399".to_owned()), Just("４１１１".to_owned()), Just("4111 ".to_owned()), Just("机密".to_owned()), Just(" ".to_owned()), Just("::1".to_owned()),
            Just("eyJhbGciOiJIUzI1NiJ9.eyJhbGciOiJIUzI1NiJ9".to_owned()), "[ -~]{0,9}", "\\PC{0,5}",
        ],
        0..30,
    ), cuts in proptest::collection::vec(0_usize..1000, 0..6)) {
        let what = all();
        let text = parts.concat();
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let whole = redacted(&what, &[bytes]);
        prop_assert_eq!(redacted(&what, &pieces), whole);
    }
}
