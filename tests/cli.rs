//! The command line as its users see it.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn commands_print_what_their_pages_say() {
    trycmd::TestCases::new().case("testdata/cli/*.trycmd");
}

fn events(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "events",
        "tail",
        "--file",
        "testdata/cli/events.jsonl",
    ]);
    command.args(arguments).stdout(Stdio::piped());
    command
}

/// The pipeline of the reference, word for word.
#[test]
fn the_event_log_can_be_summed_up() {
    const FILTER: &str = r#"group_by(.consumer_group) | map({group: .[0].consumer_group, requests: length, total_tokens: (map(.usage.total_tokens) | add), blocked: (map(select(.result == "blocked")) | length)})"#;
    let log = events(&["--last", "50", "--format", "json"])
        .output()
        .unwrap();
    let jq = Command::new("jq")
        .args(["-c", "-s", FILTER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut jq) = jq else {
        return eprintln!("skipped: there is no jq");
    };
    jq.stdin.take().unwrap().write_all(&log.stdout).unwrap();
    let sums = String::from_utf8(jq.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        sums.trim(),
        r#"[{"group":"engineering","requests":3,"total_tokens":49,"blocked":1},{"group":"marketing","requests":2,"total_tokens":123,"blocked":1}]"#
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut tail = events(&["--format", "json"]).spawn().unwrap();
    drop(tail.stdout.take());
    assert!(tail.wait().unwrap().success());
}
