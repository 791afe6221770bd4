//! The command line as its users see it.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
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

/// What prints, on files that are here.
const PRINTING: [&[&str]; 12] = [
    &["events", "tail", "--file", "testdata/cli/events.jsonl"],
    &[
        "events",
        "tail",
        "--file",
        "testdata/cli/events.jsonl",
        "--format",
        "json",
    ],
    &["report", "--file", "testdata/cli/report.jsonl"],
    &[
        "report",
        "--file",
        "testdata/cli/report.jsonl",
        "--format",
        "html",
    ],
    &["lint", "testdata/cli/teams.yaml"],
    &["lint", "testdata/cli/teams.yaml", "--format", "json"],
    &[
        "explain",
        "--config",
        "testdata/cli/teams.yaml",
        "--group",
        "marketing",
        "--model",
        "o3",
    ],
    &["group", "list", "--config", "testdata/cli/teams.yaml"],
    &["consumer", "list", "--config", "testdata/cli/teams.yaml"],
    &[
        "render",
        "envoy",
        "--config",
        "testdata/config/valid/tutorial.yaml",
    ],
    &["schema"],
    &["completions", "bash"],
];

fn cohort(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments);
    command
}

/// `| head` is no failure; a full disk is.
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for arguments in PRINTING {
        let mut command = cohort(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
            let output = cohort(arguments).stdout(full).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(
                said.contains("error: cannot write: "),
                "{arguments:?}: {said}"
            );
        }
    }
}

/// What goes into a file or a pipe has no colours; on a terminal `NO_COLOR` takes them out.
#[test]
fn colours_are_for_terminals() {
    const LINT: &[&str] = &["lint", "testdata/cli/teams.yaml"];
    for arguments in PRINTING {
        let output = cohort(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.contains(&0x1b), "{arguments:?}");
    }
    // The only one here that gives a program a terminal.
    let shown = |no_color: bool| {
        let mut command = Command::new("script");
        let line = format!("{} {}", env!("CARGO_BIN_EXE_cohort"), LINT.join(" "));
        command.args(["-qec", &line, "/dev/null"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        command.stdin(Stdio::null()).output()
    };
    let (Ok(plain), Ok(coloured)) = (shown(true), shown(false)) else {
        // Not `eprintln`: the test harness would swallow it.
        let _ = writeln!(io::stderr(), "SKIPPED: there is no script(1) here");
        return;
    };
    assert!(
        coloured.stdout.windows(3).any(|part| part == b"\x1b[1"),
        "{coloured:?}"
    );
    assert!(!plain.stdout.contains(&0x1b), "{plain:?}");
    assert!(plain.stdout.starts_with(b"warning: "), "{plain:?}");
}

/// Shells take the scripts, and bash completes with its own.
#[test]
fn shells_complete_it() {
    let script = |shell: &str| {
        let output = cohort(&["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("completions.{shell}"));
        fs::write(&file, output.stdout).unwrap();
        file.to_str().unwrap().to_owned()
    };
    for shell in ["bash", "zsh", "fish"] {
        let file = script(shell);
        match Command::new(shell).args(["-n", &file]).output() {
            Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
            Err(_) => drop(writeln!(io::stderr(), "SKIPPED: there is no {shell} here")),
        }
    }
    for (words, expected) in [
        ("cohort li", "lint"),
        ("cohort events t", "tail"),
        ("cohort lint --rep", "--replicas"),
        ("cohort report --format h", "html"),
    ] {
        let last = words.split(' ').count() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={last}; _cohort cohort \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"${{COMPREPLY[*]}}\"",
            script("bash"),
            last - 1
        );
        let completed = Command::new("bash").args(["-c", &line]).output().unwrap();
        let completed = String::from_utf8(completed.stdout).unwrap();
        assert_eq!(completed.trim(), expected, "{words}");
    }
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
    let [light, dark] = ["light", "dark"].map(|scheme| {
        let picture = file.with_file_name(format!("report-{scheme}.png"));
        let number = u8::from(scheme == "light");
        let taken = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .arg(format!("--blink-settings=preferredColorScheme={number}"))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("file://{}", file.display()))
            .stderr(Stdio::null())
            .status();
        assert!(taken.unwrap().success());
        fs::read(&picture).unwrap()
    });
    for picture in [&light, &dark] {
        let blank = picture.len() < 10_000;
        assert!(
            picture.starts_with(b"\x89PNG") && !blank,
            "{}",
            picture.len()
        );
    }
    assert_ne!(light, dark, "colours follow the reader's");
}

/// Each thing that a first start may lack is told of with what to do about it.
#[test]
fn a_first_start_says_what_is_missing() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("first-{}", std::process::id()));
    for folder in ["target/release", ".envoy", "gateway"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    // Not where Cohort was built: what is there is found from there.
    let program = dir.join("target/release/cohort");
    // A link: while a file is written, it cannot be run.
    fs::hard_link(env!("CARGO_BIN_EXE_cohort"), &program).unwrap();
    // Below the ports that the system gives to clients: nobody else takes the one that is let go.
    let mut bound = (20_001..30_000).flat_map(|port| TcpListener::bind(("127.0.0.1", port)));
    let (free, taken) = (bound.next().unwrap(), bound.next().unwrap());
    let number = |port: &TcpListener| port.local_addr().unwrap().port().to_string();
    let (port, admin) = (number(&taken), number(&free));
    drop(free);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(dir.join("gateway"));
        command.env("PATH", "/nowhere").env_remove("OPENAI_API_KEY");
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let says = |arguments: &[&str], code: i32, what: &str, advice: &str| {
        let (status, said) = run(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {said}");
        assert!(
            said.contains(what) && said.contains(advice),
            "{arguments:?}: {said}"
        );
    };
    let start = ["run", "--port", &port];
    says(
        &start,
        2,
        "there is no Envoy on PATH",
        "`make envoy` gets one",
    );
    fs::write(dir.join(".envoy/envoy"), "").unwrap();
    says(&start, 2, "cohort.wasm is missing", "`make build` makes it");
    fs::write(dir.join("target/cohort.wasm"), "").unwrap();
    let missing = "cannot read policy-config.yaml: there is no such file";
    for command in [
        &start[..],
        &["lint"],
        &["explain", "--model", "gpt-4o"],
        &["group", "list"],
        &["consumer", "list"],
        &["key", "rotate", "ann"],
        &["render", "envoy"],
    ] {
        says(
            command,
            2,
            missing,
            "begin with the one that the README shows",
        );
    }
    for command in [&["report"][..], &["events", "tail"]] {
        let missing = "cannot read .cohort/events.jsonl: there is no such file";
        says(
            command,
            2,
            missing,
            "`cohort run` and `cohort demo` write one",
        );
    }
    let policy = "version: '1'\nproviders:\n  targets: [{ id: openai, provider: openai, secret_key_ref: { env: OPENAI_API_KEY } }]\nconsumer_groups: [{ name: a, api_key: key_of_a_abc123 }]\n";
    fs::write(dir.join("gateway/policy-config.yaml"), policy).unwrap();
    let advice = "set it before `cohort run` starts, or try it without a provider: --demo-upstream";
    says(&start, 1, "OPENAI_API_KEY is not set", advice);
    let start = [
        "run",
        "--port",
        &port,
        "--admin-port",
        &admin,
        "--demo-upstream",
    ];
    let state = dir.join("gateway/.cohort");
    fs::write(&state, "").unwrap();
    let advice = "start it in a folder of its own";
    says(&start, 2, "cannot write to .cohort", advice);
    fs::remove_file(&state).unwrap();
    says(
        &start,
        2,
        &format!("127.0.0.1:{port} is taken"),
        "another port with --port",
    );
    let start = ["run", "--admin-port", &port, "--demo-upstream"];
    says(
        &start,
        2,
        &format!("127.0.0.1:{port} is taken"),
        "another port with --admin-port",
    );
    says(
        &["status"],
        2,
        "no gateway runs in this folder",
        "`cohort run` starts one",
    );
    fs::remove_dir_all(&dir).unwrap();
}
