//! The configuration as its authors meet it: what loads, and the exact words for what does not.
#![expect(
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

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
        assert_eq!(
            format!("{yaml:#?}"),
            format!("{json:#?}"),
            "{}",
            name(&path)
        );
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

/// Whatever is wrong with the document, and however far its reader came.
#[test]
fn no_key_is_ever_shown() {
    let mut documents: Vec<String> = Vec::new();
    for path in files("invalid", "yaml")
        .into_iter()
        .chain(files("valid", "yaml"))
    {
        documents.push(fs::read_to_string(path).unwrap());
    }
    let tutorial = fs::read_to_string(files("valid", "yaml").pop().unwrap()).unwrap();
    assert!(tutorial.contains("kt_cg_engineering_abc123"));
    documents.extend((0..tutorial.len()).map(|end| tutorial[..end].to_owned()));
    let lines: Vec<_> = tutorial.lines().collect();
    for wrong in 0..lines.len() {
        for damage in [
            "  ",
            "- ",
            "\"",
            "'",
            "{",
            "[",
            "*",
            "&",
            "api_keys: ",
            "name: ",
        ] {
            let damaged = lines.iter().enumerate().map(|(at, line)| {
                let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
                let damage = if at == wrong { damage } else { "" };
                format!("{indent}{damage}{rest}\n")
            });
            documents.push(damaged.collect());
        }
    }
    for document in documents {
        let yaml = Config::from_yaml(&document);
        let json = Config::from_json(document.as_bytes());
        let mut shown = format!("{yaml:?} {json:?}");
        for errors in [yaml, json].into_iter().filter_map(Result::err) {
            shown.push_str(&cohort::cli::render_errors("file", &errors));
            shown.extend(errors.iter().map(ToString::to_string));
        }
        for secret in ["kt_", "abc123", "def456", "ghi789", "jkl012", "mno345"] {
            assert!(!shown.contains(secret), "{document}\n\n{shown}");
        }
    }
}

/// Whole documents that the pages show are what they say.
#[test]
fn what_the_pages_show_loads() {
    let mut shown = 0;
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(top.join("docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().path());
    for page in pages.chain([top.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
        for document in blocks.filter(|block| block.starts_with("version:")) {
            let config = Config::from_yaml(document);
            let config = config.unwrap_or_else(|errors| panic!("{}: {errors:?}", name(&page)));
            let compiled = cohort::policy::Policy::compile(config, |_| Some("secret".to_owned()));
            compiled.unwrap_or_else(|errors| panic!("{}: {errors:?}", name(&page)));
            shown += 1;
        }
    }
    assert!(shown >= 12, "{shown}");
}
