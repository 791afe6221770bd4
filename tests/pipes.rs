//! What comes by stdin, and what other programs have written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn told(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let pipe = |command: &mut Command| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = pipe(command.args(arguments).stderr(Stdio::piped())).unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin); // it may know enough already
    child.wait_with_output().unwrap()
}

/// In a pipeline: what comes by stdin is what a file would say.
#[test]
fn a_dash_is_stdin() {
    const LOG: &str = "testdata/cli/report.jsonl";
    const POLICY: &str = "testdata/config/valid/tutorial.yaml";
    for (before, file) in [
        (&["report", "--file"][..], LOG),
        (
            &["report", "--by", "model", "--format", "csv", "--file"],
            LOG,
        ),
        (&["events", "tail", "--last", "2", "--file"], LOG),
        (&["simulate", "--config", POLICY, "--events"], LOG),
        (&["lint"], POLICY),
        (&["group", "list", "--config"], POLICY),
        (&["render", "envoy", "--config"], POLICY),
    ] {
        let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let [read, piped] = [file, "-"].map(|file| told(&[before, &[file]].concat(), &text));
        assert!(
            read.status.success() && !read.stdout.is_empty(),
            "{before:?}"
        );
        assert_eq!(piped.stdout, read.stdout, "{before:?}");
    }
    let log = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(LOG)).unwrap();
    let followed = told(
        &["events", "tail", "--follow", "--all", "--file", "-"],
        &log,
    );
    let all = told(
        &["events", "tail", "--last", "99", "--all", "--file", "-"],
        &log,
    );
    let lines = |output| String::from_utf8(output).unwrap().lines().count();
    assert_eq!(lines(followed.stdout), lines(all.stdout));
}

#[test]
fn what_is_not_utf8_is_found_by_its_line() {
    for bytes in [&b"version: '1'\n# caf\xe9\n"[..], b"\n\xff\xfev\0e\0"] {
        let said = told(&["lint", "-"], bytes);
        assert_eq!(said.status.code(), Some(2));
        let said = String::from_utf8(said.stderr).unwrap();
        assert_eq!(
            said,
            "error: cannot read -: line 2 is not UTF-8: save it as UTF-8\n"
        );
    }
}

/// Callers make up the names of models: what is for people to read has an end.
#[test]
fn of_many_models_the_most_frequent_are_shown() {
    let line = r#"{"time":"2026-11-21T05:11:38Z","consumer_group":"engineering","consumer":null,"key_id":"13fec53a076f","provider":"openai","endpoint":"chat","model":"NAME","result":"allowed","usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let names = (0..150)
        .map(|at| format!("m{at}"))
        .chain(["m149".to_owned()]);
    let log = names.map(|name| line.replace("NAME", &name) + "\n");
    let log = log.collect::<String>();
    let policy = "testdata/config/valid/tutorial.yaml";
    let simulate = ["simulate", "--config", policy, "--events", "-"];
    let text = String::from_utf8(told(&simulate, log.as_bytes()).stdout).unwrap();
    assert_eq!(
        text.matches("and 50 more: --format json has all\n").count(),
        2,
        "{text}"
    );
    assert!(
        text.contains("\nm149 ") && text.lines().count() < 230,
        "{text}"
    );
    assert!(
        text.contains("       2  engineering m149: passed -> model_not_allowed"),
        "{text}"
    );
    let json = told(
        &[&simulate[..], &["--format", "json"]].concat(),
        log.as_bytes(),
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), 150);
}

/// What another program has written again, and a file that is no log.
#[test]
fn reports_of_other_peoples_lines() {
    let line = r#"{"time":"2026-11-21T05:11:38Z","consumer_group":"a","model":"m","result":"allowed","cost_usd":COST,"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let log = ["2e-05", "1.5e-05", "0.000005"].map(|cost| line.replace("COST", cost));
    let report = told(
        &["report", "--format", "csv", "--file", "-"],
        log.join("\n").as_bytes(),
    );
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("\na,3,0,0,3,3,6,0.00004,"), "{report}");
    let none = told(&["report", "--file", "-"], b"[info] starting\n");
    let said = String::from_utf8(none.stderr).unwrap();
    assert_eq!(
        said,
        "no events; --all shows requests that no group was found for, too\n"
    );
}
