//! `cohort group` and `cohort consumer`: what they do to a policy file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of the test's own with the policy of the pages.
fn place(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("roster-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/cli/teams.yaml");
    fs::copy(policy, dir.join("policy-config.yaml")).unwrap();
    dir
}

fn cohort(dir: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.args(arguments.split(' ')).current_dir(dir);
    command.output().unwrap()
}

fn done(dir: &Path, arguments: &str) -> (String, String) {
    let output = cohort(dir, arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
    (text(&output.stdout), said)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn policy(dir: &Path) -> String {
    fs::read_to_string(dir.join("policy-config.yaml")).unwrap()
}

/// From the tutorial of someone who hires, moves and lets go; every step leaves a file that `lint` takes.
#[test]
fn a_team_comes_and_goes_and_the_file_is_as_it_was() {
    let dir = place("cycle");
    let before = policy(&dir);
    for step in [
        "group add legal hr --models gpt-4o --requests-per-minute 10",
        "consumer add erin frank --group legal --key",
        "consumer move erin frank --to hr",
        "consumer move bob --to legal",
        "consumer move bob --to engineering",
        "group remove legal",
        "group remove hr --with-consumers",
    ] {
        let (_, said) = done(&dir, step);
        assert!(said.contains("\n@@ -"), "{step}: {said}");
        done(&dir, "lint");
    }
    assert_eq!(policy(&dir), before);
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        1,
        "nothing is left over"
    );
}

#[test]
fn keys_are_shown_once_and_only_their_digests_are_written() {
    let dir = place("keys");
    let (one, said) = done(&dir, "group add legal --key --expires 90d");
    let key = one.trim();
    assert!(key.starts_with("ck_legal_") && !key.contains(' '), "{one}");
    assert!(said.contains("shown once"), "{said}");
    let (digest, _) = done(&dir, &format!("key hash {key}"));
    let written = policy(&dir);
    assert!(
        written.contains(&format!(
            "    api_keys:\n      - sha256: {digest}        not_after: 20"
        )),
        "{written}"
    );

    let (several, _) = done(&dir, "consumer add erin frank --group legal --key");
    let several: Vec<_> = several.lines().map(|line| line.split_once(' ')).collect();
    let [Some(("erin", erin)), Some(("frank", frank))] = several[..] else {
        panic!("{several:?}");
    };
    for (name, key) in [("erin", erin), ("frank", frank)] {
        let (digest, _) = done(&dir, &format!("key hash {key}"));
        let entry = format!(
            "  - name: {name}\n    groups: [legal]\n    api_keys:\n      - sha256: {digest}"
        );
        assert!(policy(&dir).contains(&entry), "{}", policy(&dir));
    }
    for secret in [key, erin, frank] {
        assert!(!policy(&dir).contains(secret) && !said.contains(secret));
    }

    let before = policy(&dir);
    let (shown, said) = done(&dir, "consumer add gus --group legal --key --dry-run");
    assert!(
        shown.contains("+  - name: gus") && !shown.contains("ck_gus"),
        "{shown}"
    );
    assert_eq!(said, "");
    assert_eq!(policy(&dir), before);
}

#[test]
fn all_names_are_changed_or_none() {
    let dir = place("all");
    let path = dir.join("policy-config.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = policy(&dir);
    for (arguments, code) in [
        ("consumer move bob nobody --to guests", 2),
        ("consumer move bob carol --to guests --from marketing", 2),
        ("consumer add erin ann --group guests --key", 2),
        ("consumer remove bob nobody", 2),
        ("group add legal ann@example.com --key", 1),
        ("group remove ads nobody", 2),
    ] {
        let output = cohort(&dir, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}");
        assert_eq!(text(&output.stdout), "", "{arguments}");
        assert_eq!(policy(&dir), before, "{arguments}");
    }
    let (_, said) = done(&dir, "consumer remove carol --from marketing");
    assert!(
        said.contains("in the file's `default_group` guests now: carol"),
        "{said}"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
