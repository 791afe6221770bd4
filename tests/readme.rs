//! The README's console sessions, one after the other, with a demo running as it says.

mod support;

use std::fs;
use support::demo::Demo;

const README: &str = include_str!("../README.md");

#[tokio::test]
async fn commands_print_what_the_readme_shows() {
    let Some(demo) = Demo::start().await else {
        return;
    };
    support::quiet_minute().await;
    let sessions = sessions(README);
    assert!(!sessions.is_empty());
    for (command, expected) in sessions {
        if command.starts_with("cohort events") {
            // Envoy writes its logs out every 200 ms.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        let command = command.replace("127.0.0.1:41002", &format!("127.0.0.1:{}", demo.port()));
        let said = demo.bash(&command);
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
    assert!(demo.interrupt().await.success());
}

/// What `cohort explain` is asked about is what stands there to read.
#[test]
fn the_policy_that_is_explained_is_the_one_that_is_shown() {
    let teams = include_str!("../testdata/config/valid/teams.yaml");
    assert!(README.contains(&format!("```yaml\n{teams}```\n")));
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

/// The commands in blocks of `console`, and what each prints.
fn sessions(markdown: &str) -> Vec<(String, String)> {
    let mut sessions: Vec<(String, String)> = Vec::new();
    for block in markdown.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for line in block.lines() {
            match (line.strip_prefix("$ "), sessions.last_mut()) {
                (Some(command), _) => sessions.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, None) => {}
            }
        }
    }
    sessions
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
