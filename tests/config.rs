//! The configuration as its authors meet it: what loads, and the exact words for what does not.

use cohort::config::{Config, ConfigError};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/config")
        .join(folder);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The YAML as the filter would get it.
fn json(yaml: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_saphyr::from_str::<serde_json::Value>(yaml).unwrap()).unwrap()
}

fn sorted(errors: &[ConfigError]) -> Vec<String> {
    let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_valid_loads_from_yaml_and_from_json_alike() {
    for path in files("valid", "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let yaml = Config::from_yaml(&text)
            .unwrap_or_else(|errors| panic!("{}: {:?}", name(&path), sorted(&errors)));
        let json = Config::from_json(&json(&text)).unwrap();
        assert_eq!(format!("{yaml:?}"), format!("{json:?}"), "{}", name(&path));
    }
}

/// `UPDATE=1 cargo test --test config` writes what is said now; read the difference before committing it.
#[test]
fn what_is_invalid_is_refused_in_these_words() {
    let mut wrong = String::new();
    for path in files("invalid", "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = Config::from_yaml(&text).expect_err(&name(&path));
        let said = cohort::cli::render_errors(&name(&path), &errors);
        let expected = path.with_extension("stderr");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            writeln!(wrong, "{} now says:\n{said}", name(&path)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Duplicate members and syntax are each format's own; `serde_json::Value` holds neither.
#[test]
fn the_filter_says_what_the_command_line_says() {
    let mut compared = 0;
    for path in files("invalid", "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let Ok(value) = serde_saphyr::from_str::<serde_json::Value>(&text) else {
            continue;
        };
        let yaml = Config::from_yaml(&text).unwrap_err();
        if yaml
            .iter()
            .any(|error| error.message == "given twice" || error.path.is_empty())
        {
            continue;
        }
        let json = Config::from_json(&serde_json::to_vec(&value).unwrap()).unwrap_err();
        assert_eq!(sorted(&json), sorted(&yaml), "{}", name(&path));
        compared += 1;
    }
    assert!(compared >= 15, "{compared}");
}
