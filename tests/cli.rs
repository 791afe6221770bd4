//! The command line as its users see it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn commands_print_what_their_pages_say() {
    trycmd::TestCases::new()
        .case("testdata/cli/*.trycmd")
        .case("docs/*.md");
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

/// The commands agree on what an Envoy needs, whoever makes its configuration.
#[test]
fn what_is_rendered_fits() {
    let cohort = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments);
        command.output().unwrap()
    };
    let policy = "testdata/config/valid/tutorial.yaml";
    let image = "oci://registry.example.com/cohort:0.1.0";
    for (name, target, wasm) in [
        ("envoy", &["envoy"][..], None),
        (
            "file",
            &["envoy", "--filter-file", "/etc/filter.yaml"],
            None,
        ),
        ("ecds", &["ecds"], None),
        ("istio", &["istio"], None),
        ("plugin", &["istio", "--form", "wasm-plugin"], None),
        ("gateway", &["envoy-gateway"], Some(image)),
    ] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rendered-{name}.yaml"));
        let file = file.to_str().unwrap();
        let mut arguments = vec!["render"];
        arguments.extend(target);
        arguments.extend(["--config", policy, "--output", file]);
        arguments.extend(wasm.iter().flat_map(|wasm| ["--wasm", wasm]));
        let rendered = cohort(&arguments);
        assert!(rendered.status.success(), "{name}: {rendered:?}");
        let said = cohort(&["lint", policy, "--envoy", file]);
        assert!(
            said.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
        let warned = String::from_utf8_lossy(&said.stderr).contains(file);
        assert_eq!(
            warned,
            name == "file",
            "{name}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut tail = events(&["--format", "json"]).spawn().unwrap();
    drop(tail.stdout.take());
    assert!(tail.wait().unwrap().success());
}

/// As a browser sees it: charts, figures, and no markup out of a caller's text.
#[test]
fn the_report_is_a_page() {
    let page = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["report", "--file", "testdata/cli/report.jsonl"])
        .args(["--by", "model", "--format", "html"])
        .output()
        .unwrap();
    assert!(page.status.success());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html");
    fs::write(&file, page.stdout).unwrap();
    let seen = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("file://{}", file.display()))
        .stderr(Stdio::null())
        .output();
    let Ok(seen) = seen else {
        // Not `eprintln`: the test harness would swallow it.
        let _ = writeln!(io::stderr(), "SKIPPED: there is no chromium here");
        return;
    };
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert_eq!(seen.matches("<svg").count(), 6, "{seen}");
    assert!(
        seen.contains("&lt;b&gt;gpt&lt;/b&gt;") && !seen.contains("<b>"),
        "{seen}"
    );
    assert!(
        seen.contains("7 requests, 271100 tokens, 0.61344 US dollars"),
        "{seen}"
    );
    assert!(!seen.contains("http"), "it needs nothing else: {seen}");
}
