//! `cohort key`: what it does to a policy file.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of the test's own with a policy file.
fn place(name: &str, policy: &str) -> PathBuf {
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("key-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("policy-config.yaml"), policy).unwrap();
    dir
}

fn key(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command
        .arg("key")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn policy(dir: &Path) -> String {
    fs::read_to_string(dir.join("policy-config.yaml")).unwrap()
}

/// The digests that a key of some length has stand for it, so that what is written can be shown.
fn shape(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (word, rest) = word.split_at(word.find('\n').unwrap_or(word.len()));
        match word {
            _ if word.len() == 64 => format!("DIGEST{rest}"),
            _ if word.len() == 20 && word.ends_with('Z') => format!("TIME{rest}"),
            _ => format!("{word}{rest}"),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

const POLICY: &str = "\
version: '1'

consumer_groups:
  # Sells.
  - name: marketing
    api_key: plain-key-of-marketing   # since 2024

    allowed_models: [gpt-4o]
";

#[test]
fn a_new_key_is_added_and_a_rotated_one_ends() {
    let dir = place("rotate", POLICY);
    let rotated = key(&dir, &["rotate", "marketing", "--overlap", "2h"]);
    assert_eq!(rotated.status.code(), Some(0));
    assert_eq!(text(&rotated.stdout).lines().count(), 1);
    assert!(text(&rotated.stdout).starts_with("ck_marketing_"));
    assert_eq!(
        shape(&policy(&dir)),
        "\
version: '1'

consumer_groups:
  # Sells.
  - name: marketing
    api_keys:   # since 2024
      - sha256: DIGEST
        not_after: TIME
      - sha256: DIGEST

    allowed_models: [gpt-4o]
"
    );
    let said = text(&rotated.stderr);
    assert!(
        said.contains("+    api_keys:") && said.contains("-    api_key: ***"),
        "{said}"
    );
    assert!(
        said.contains("The old one (a9e2fb4e113c) works until 2"),
        "{said}"
    );
    assert!(
        !said.contains("plain-key") && !said.contains(text(&rotated.stdout).trim()),
        "{said}"
    );

    let new = key(
        &dir,
        &["new", "marketing", "--id", "ann", "--expires", "90d"],
    );
    assert_eq!(new.status.code(), Some(0));
    assert!(
        shape(&policy(&dir))
            .contains("      - id: ann\n        sha256: DIGEST\n        not_after: TIME\n\n"),
        "{}",
        policy(&dir)
    );

    // The one that has no end is the one to be replaced; named, any is.
    let before = policy(&dir).matches("not_after").count();
    assert!(key(&dir, &["rotate", "marketing"]).status.success());
    assert_eq!(policy(&dir).matches("not_after").count(), before + 1);
    assert!(
        key(
            &dir,
            &["rotate", "marketing", "--id", "ann", "--overlap", "1h"]
        )
        .status
        .success()
    );
    assert_eq!(policy(&dir).matches("not_after").count(), before + 1);
    let several = key(&dir, &["rotate", "marketing"]);
    assert_eq!(several.status.code(), Some(2), "two without an end");
    assert!(
        text(&several.stderr).contains("say which with --id; its keys are a9e2fb4e113c, "),
        "{}",
        text(&several.stderr)
    );
}

#[test]
fn nothing_is_written_that_the_filter_would_refuse() {
    let dir = place("refused", POLICY);
    assert!(
        key(&dir, &["new", "marketing", "--id", "ann"])
            .status
            .success()
    );
    let before = policy(&dir);
    for arguments in [
        ["new", "marketing", "--id", "two words"],
        ["new", "marketing", "--id", ""],
    ] {
        let output = key(&dir, &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("nothing was written"),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), "");
    }
    assert_eq!(policy(&dir), before);
}

#[test]
fn links_and_permissions_stay() {
    let dir = place("links", "");
    let real = dir.join("real.yaml");
    fs::write(&real, POLICY).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    let link = dir.join("policy-config.yaml");
    fs::remove_file(&link).unwrap();
    symlink("real.yaml", &link).unwrap();
    assert!(key(&dir, &["new", "marketing"]).status.success());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(policy(&dir).contains("sha256"));
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        2,
        "nothing is left over"
    );
}

/// Of two who change the file at the same time each finds what the other did.
#[test]
fn no_change_is_lost_to_another_at_the_same_time() {
    let dir = place("together", POLICY);
    let ids: Vec<_> = (0..12).map(|id| format!("id-{id}")).collect();
    let started = ids.iter().map(|id| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        let command = command.args(["key", "new", "marketing", "--id", id]);
        let command = command.current_dir(&dir).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    });
    for mut started in started.collect::<Vec<_>>() {
        assert!(started.wait().unwrap().success());
    }
    let policy = policy(&dir);
    for id in ids {
        assert!(policy.contains(&format!("id: {id}\n")), "{id}: {policy}");
    }
}

/// What is shown may come into a log: of keys that were commented out it says nothing either.
#[test]
fn a_key_in_a_comment_is_not_shown() {
    let old = "    # Since 2024.\n    # api_keys:\n    #   - kt_was_2\n    # api_key: kt_was_1  # of Bob\n";
    let dir = place(
        "commented",
        &POLICY.replace("    api_key:", &format!("{old}    api_key:")),
    );
    let said = text(&key(&dir, &["rotate", "marketing"]).stderr);
    assert!(
        said.contains("# api_keys:\n") && said.contains("# api_key: ***"),
        "{said}"
    );
    assert!(!said.contains("was"), "{said}");
    assert!(policy(&dir).contains(old));
}

/// As `flock` does it that is put around the command: nobody waits for ever.
#[test]
fn a_lock_that_stays_is_told_of() {
    let dir = place("locked", POLICY);
    let lock = File::open(dir.join("policy-config.yaml")).unwrap();
    lock.lock().unwrap();
    let refused = key(&dir, &["new", "marketing"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(
        said.contains("another program holds a lock on it"),
        "{said}"
    );
    assert_eq!(policy(&dir), POLICY);
}

/// Its digest in the file would be that of a key that nobody has.
#[test]
fn a_key_that_nobody_reads_is_not_written() {
    let dir = place("unread", POLICY);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for arguments in [
        "key new marketing",
        "key rotate marketing",
        "group add legal --key",
        "group add legal hr --key",
    ] {
        for stdout in [full(), closed()] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
            let command = command.args(arguments.split(' ')).current_dir(&dir);
            let output = command.stdout(stdout).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments}");
            let said = text(&output.stderr);
            assert!(said.contains("; nothing was written"), "{said}");
            assert_eq!(policy(&dir), POLICY, "{arguments}");
        }
    }
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        1,
        "nothing is left over"
    );
}

/// Where the test may give files away: a gateway that could read the old file can read the new one.
#[test]
fn the_owner_stays() {
    let dir = place("owner", POLICY);
    let file = dir.join("policy-config.yaml");
    if chown(&file, Some(65_534), Some(65_533)).is_ok() {
        assert!(key(&dir, &["new", "marketing"]).status.success());
        let now = fs::metadata(&file).unwrap();
        assert_eq!((now.uid(), now.gid()), (65_534, 65_533));
    }
}
