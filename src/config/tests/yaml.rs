use super::*;

#[test]
fn scalars_are_what_yaml_1_2_says() {
    let mode = |text: &str| Config::from_yaml(&format!("version: '1'\nmode: {text}\n"));
    assert!(mode("shadow").is_ok() && mode("'shadow'").is_ok() && mode("\"sh\\x61dow\"").is_ok());
    assert!(mode("!!str shadow").is_ok() && mode("|-\n  shadow").is_ok());
    let hold =
        |text: &str| Config::from_yaml(&format!("version: '1'\nhold_request_headers: {text}\n"));
    assert!(hold("true").is_ok() && hold("False").is_ok());
    assert!(hold("yes").is_err() && hold("'true'").is_err() && hold("~").is_err());
    let jitter =
        |text: &str| Config::from_yaml(&format!("version: '1'\nretry_after_jitter: {text}\n"));
    for (text, expected) in [
        ("5", 5),
        ("'5'", 5),
        ("5.0", 5),
        ("1e1", 10),
        ("+5", 5),
        ("0", 0),
    ] {
        assert_eq!(jitter(text).unwrap().retry_after_jitter, expected, "{text}");
    }
    for text in [
        "010", "0x10", "1_0", "-1", ".5", "..", "1-2", "", "nan", ".nan",
    ] {
        assert!(jitter(text).is_err(), "{text}");
    }
}

#[test]
fn aliases_cannot_fill_the_memory() {
    use std::fmt::Write;
    let mut text = "version: '1'\na0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        let previous = level - 1;
        writeln!(
            text,
            "a{level}: &a{level} [*a{previous}, *a{previous}, *a{previous}, *a{previous}]"
        )
        .unwrap();
    }
    assert_eq!(
        Config::from_yaml(&text).unwrap_err()[0].message,
        "aliases copy too much"
    );
    assert!(Config::from_yaml("a: &a [*a]").is_err());
}

#[test]
fn nesting_ends_before_the_stack_does() {
    for text in [
        "[".repeat(100_000),
        "- ".repeat(100_000),
        "{a: ".repeat(100_000),
    ] {
        assert!(Config::from_yaml(&text).is_err());
    }
}

#[test]
fn positions_count_characters_and_lines() {
    let error = &Config::from_yaml("\u{feff}version: '1'\r\n\"m\u{f6}de\": 1 # comment\r\n")
        .unwrap_err()[0];
    let location = error.location.as_ref().unwrap();
    assert_eq!((location.line, location.column), (2, 1));
    assert_eq!(location.excerpt, "\"m\u{f6}de\": *");
    assert_eq!(
        location.excerpt.get(location.range.clone()),
        Some("\"m\u{f6}de\"")
    );
}
