//! The README's console blocks, one after the other, as one reader would enter them: from `make` to the report.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "readme/session.rs"]
mod session;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use session::Session;

const README: &str = include_str!("../README.md");

/// What a reader does, in the order of the page.
#[derive(Debug)]
enum Step {
    Save { name: String, text: String },
    Enter { command: String, expected: String },
}

#[tokio::test]
async fn a_reader_comes_from_the_first_line_to_the_last() {
    support::quiet_minute().await;
    let Some(mut session) = Session::start() else {
        return;
    };
    let steps = steps(README);
    assert!(steps.len() > 20, "{steps:?}");
    for step in steps {
        let (command, expected) = match step {
            Step::Save { name, text } => {
                session.save(&name, &text);
                continue;
            }
            Step::Enter { command, expected } => (command, expected),
        };
        if command.contains("cohort key rotate") || command.starts_with("kill $!") {
            // The load is on before the first change and after the last one.
            under_load(&mut session);
        } else if command.starts_with("cohort events") {
            // Envoy writes its logs out every 200 ms.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        let said = session.enter(&command);
        let (said, expected): (Vec<_>, Vec<_>) = (
            said.trim_end().lines().collect(),
            expected.lines().collect(),
        );
        assert!(
            lines_match(&expected, &said),
            "$ {command}\nprints\n{}\nand not\n{}",
            said.join("\n"),
            expected.join("\n")
        );
    }
    let said = session.terminal();
    assert_eq!(
        said.matches("policy-config.yaml is in force\n").count(),
        2,
        "{said}"
    );
    let report = session.file("report.html");
    opened(&report);
    session.close();
}

/// Waits for ten answers more of the loop that runs beside.
fn under_load(session: &mut Session) {
    let file = session.file("codes.txt");
    let count = || fs::read_to_string(&file).map_or(0, |codes| codes.lines().count());
    let first = count();
    session.wait_for("answers under load", |_| count() >= first + 10);
}

/// As the reader's browser shows it.
fn opened(report: &Path) {
    let page = fs::read_to_string(report).unwrap();
    let seen = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("file://{}", report.display()))
        .stderr(Stdio::null())
        .output();
    let seen = if let Ok(seen) = seen {
        String::from_utf8(seen.stdout).unwrap()
    } else {
        // Not `eprintln`: the test harness would swallow it.
        let _ = writeln!(io::stderr(), "SKIPPED: there is no chromium here");
        page
    };
    for expected in ["<svg", "support", "search", " requests, ", " tokens, "] {
        assert!(seen.contains(expected), "{expected:?}: {seen}");
    }
}

/// The README says where every page is.
#[test]
fn every_page_is_in_the_readme() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    for page in fs::read_dir(pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(README.contains(&format!("](docs/{name})")), "{name}");
    }
}

/// Blocks of `yaml` that are to be saved, and the commands in blocks of `console` with what each prints.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut parts = markdown.split("\n```");
    let mut before = parts.next().unwrap_or_default();
    while let (Some(block), after) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').unwrap_or((block, ""));
        let asks = before.trim_end().lines().last().unwrap_or_default();
        if let ("yaml", Some(("", name))) = (kind, asks.split_once("Save this")) {
            let name = name
                .split('`')
                .nth(1)
                .expect("the name of the file")
                .to_owned();
            steps.push(Step::Save {
                name,
                text: format!("{text}\n"),
            });
        }
        for line in text.lines().filter(|_| kind == "console") {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step::Enter {
                    command: command.to_owned(),
                    expected: String::new(),
                }),
                (None, Some(Step::Enter { expected, .. })) => {
                    expected.push_str(line);
                    expected.push('\n');
                }
                (None, _) => panic!("{line:?} is no command's"),
            }
        }
        before = after.unwrap_or_default();
    }
    steps
}

/// `...` stands for any number of lines.
fn lines_match(expected: &[&str], said: &[&str]) -> bool {
    match (expected.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), next) => {
            lines_match(rest, said) || next.is_some_and(|(_, said)| lines_match(expected, said))
        }
        (Some((line, rest)), Some((first, said))) => {
            text_matches(line, first) && lines_match(rest, said)
        }
        _ => false,
    }
}

/// `[..]` stands for any text.
fn text_matches(expected: &str, said: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else {
        return expected == said;
    };
    let Some(rest) = said.strip_prefix(before) else {
        return false;
    };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| rest.get(at..).is_some_and(|rest| text_matches(after, rest)))
}

#[test]
fn wildcards_match_what_they_stand_for() {
    let matches = |expected: &str, said: &str| {
        lines_match(
            &expected.lines().collect::<Vec<_>>(),
            &said.lines().collect::<Vec<_>>(),
        )
    };
    assert!(matches("a[..]c\n...\nz", "abc\n1\n2\nz"));
    assert!(matches("[..]b[..]", "b"));
    assert!(matches("...", ""));
    assert!(!matches("a[..]c", "abd"));
    assert!(!matches("a", "a\nb"));
    assert!(!matches("a\nb", "a"));
}
