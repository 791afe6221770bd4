use super::{Item, PolicyFile, Step};

const FILE: &str = "\
# Who may what.
version: '1'
consumer_groups:
  # The engineers.
  - name: engineering   # since 2024
    api_key: key-of-engineering  # Bob has it
    allowed_models: [gpt-4o, o3]
    rate_limits:
      requests_per_minute: 60
      # per day
      tokens_per_day: 2M

  # Those who sell.
  # Two of them.
  -
    name: marketing
    api_keys:
    - {id: old, sha256: aaaa}
    # the new one
    - plain-key-of-marketing
  - {name: research, api_key: key-of-research}
  - name: empty
    description:
# The end.
mode: shadow
";

fn file(text: &str) -> PolicyFile {
    PolicyFile::new("f".to_owned(), text.to_owned(), false)
        .ok()
        .unwrap()
}

fn group<'a>(at: usize, rest: &[Step<'a>]) -> Vec<Step<'a>> {
    [&["consumer_groups".into(), at.into()], rest].concat()
}

/// The lines that a change takes out and puts in.
fn diff(text: &str, change: impl FnOnce(&mut PolicyFile)) -> String {
    let mut file = file(text);
    change(&mut file);
    let diff = file.diff();
    let lines = diff
        .lines()
        .skip(2)
        .filter(|line| line.starts_with(['+', '-']));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn values_are_replaced_where_they_stand() {
    let limit = group(0, &["rate_limits".into(), "tokens_per_day".into()]);
    let said = diff(FILE, |file| file.set(&limit, Item::Number(5)).ok().unwrap());
    assert_eq!(said, "-      tokens_per_day: 2M\n+      tokens_per_day: 5");
    let models = group(0, &["allowed_models".into(), 1_usize.into()]);
    let said = diff(FILE, |file| file.set(&models, "*".into()).ok().unwrap());
    assert_eq!(
        said,
        "-    allowed_models: [gpt-4o, o3]\n+    allowed_models: [gpt-4o, '*']"
    );
    let text = group(3, &["description".into()]);
    let said = diff(FILE, |file| file.set(&text, "a: b".into()).ok().unwrap());
    assert_eq!(said, "-    description:\n+    description: 'a: b'");
}

#[test]
fn members_are_added_after_the_last() {
    let limits = Item::map([("requests_per_minute", Item::Number(5))]);
    for (at, expected) in [
        (
            0,
            "+    consumer_rate_limits:\n+      requests_per_minute: 5",
        ),
        (
            1,
            "+    consumer_rate_limits:\n+      requests_per_minute: 5",
        ),
        (
            2,
            "-  - {name: research, api_key: ***************}\n+  - {name: research, api_key: ***************, consumer_rate_limits: {requests_per_minute: 5}}",
        ),
    ] {
        let path = group(at, &["consumer_rate_limits".into()]);
        let said = diff(FILE, |file| file.set(&path, limits.clone()).ok().unwrap());
        assert_eq!(said, expected);
    }
    let mut end = file("version: '1'");
    end.set(&["mode".into()], "shadow".into()).ok().unwrap();
    assert_eq!(end.text, "version: '1'\nmode: shadow\n");
}

#[test]
fn a_key_becomes_a_list_of_keys_with_its_comment() {
    let keys = Item::List(vec![
        Item::map([
            ("sha256", "aa".into()),
            ("not_after", "2026-11-30T09:00:00Z".into()),
        ]),
        Item::map([("sha256", "bb".into())]),
    ]);
    let path = group(0, &["api_key".into()]);
    let said = diff(FILE, |file| {
        file.replace(&path, "api_keys", keys.clone()).ok().unwrap();
    });
    assert_eq!(
        said,
        "\
-    api_key: ******************  # Bob has it
+    api_keys:  # Bob has it
+      - sha256: aa
+        not_after: 2026-11-30T09:00:00Z
+      - sha256: bb"
    );
    let path = group(2, &["api_key".into()]);
    let said = diff(FILE, |file| {
        file.replace(&path, "api_keys", keys.clone()).ok().unwrap();
    });
    assert!(said.ends_with("+  - {name: research, api_keys: [{sha256: aa, not_after: 2026-11-30T09:00:00Z}, {sha256: bb}]}"), "{said}");
}

#[test]
fn items_are_added_at_the_end_of_whatever_list() {
    let keys = group(1, &["api_keys".into()]);
    let said = diff(FILE, |file| {
        file.push(
            &keys,
            Item::map([("id", "new".into()), ("sha256", "bb".into())]),
        )
        .ok()
        .unwrap();
    });
    assert_eq!(said, "+    - id: new\n+      sha256: bb");
    let models = group(0, &["allowed_models".into()]);
    let said = diff(FILE, |file| {
        file.push(&models, "gpt-5".into()).ok().unwrap();
    });
    assert!(
        said.ends_with("+    allowed_models: [gpt-4o, o3, gpt-5]"),
        "{said}"
    );
    let said = diff(FILE, |file| {
        file.push(
            &["consumer_groups".into()],
            Item::map([("name", "new".into())]),
        )
        .ok()
        .unwrap();
    });
    assert_eq!(said, "+  - name: new");
    let said = diff(FILE, |file| {
        file.push(&["consumers".into()], Item::map([("name", "ann".into())]))
            .ok()
            .unwrap();
    });
    assert_eq!(said, "+consumers:\n+  - name: ann");
    let mut empty = file("consumer_groups: []  # none yet\nmode: shadow\n");
    empty
        .push(
            &["consumer_groups".into()],
            Item::map([("name", "new".into())]),
        )
        .ok()
        .unwrap();
    assert_eq!(
        empty.text,
        "consumer_groups:  # none yet\n  - name: new\nmode: shadow\n"
    );
}

#[test]
fn what_is_removed_takes_its_own_comment_along() {
    let said = diff(FILE, |file| file.remove(&group(1, &[])).ok().unwrap());
    assert_eq!(
        said,
        "\
-  # Those who sell.
-  # Two of them.
-  -
-    name: marketing
-    api_keys:
-    - {id: old, sha256: aaaa}
-    # the new one
-    - **********************"
    );
    let said = diff(FILE, |file| {
        file.remove(&group(0, &["rate_limits".into(), "tokens_per_day".into()]))
            .ok()
            .unwrap();
    });
    assert_eq!(said, "-      # per day\n-      tokens_per_day: 2M");
    let said = diff(FILE, |file| {
        file.remove(&group(0, &["allowed_models".into(), 0_usize.into()]))
            .ok()
            .unwrap();
    });
    assert!(said.ends_with("[o3]"), "{said}");
    let said = diff(FILE, |file| {
        file.remove(&group(0, &["name".into()])).ok().unwrap();
    });
    assert!(
        said.ends_with("+  - api_key: ******************  # Bob has it"),
        "{said}"
    );
    let mut keys = file("a:\n  - x: 1\n    # all\n    y:\n    - z: 1\n");
    keys.remove(&["a".into(), 0_usize.into(), "y".into(), 0_usize.into()])
        .ok()
        .unwrap();
    assert_eq!(keys.text, "a:\n  - x: 1\n    # all\n    y: []\n");
}

#[test]
fn everything_can_be_taken_out_and_put_back_in() {
    let mut file = file(FILE);
    let groups = file.item(&["consumer_groups".into()]).unwrap();
    for _ in groups.items() {
        file.remove(&["consumer_groups".into(), 0_usize.into()])
            .ok()
            .unwrap();
    }
    for group in groups.items() {
        file.push(&["consumer_groups".into()], group.clone())
            .ok()
            .unwrap();
    }
    assert_eq!(file.item(&["consumer_groups".into()]), Some(groups));
    assert!(
        file.text.contains("# The end.\nmode: shadow\n"),
        "{}",
        file.text
    );
}

#[test]
fn json_stays_json() {
    let text = "{\n  \"version\": \"1\",\n  \"consumer_groups\": [\n    {\"name\": \"a\"},\n    {\"name\": \"b\"}\n  ]\n}\n";
    let mut file = PolicyFile::new("f".to_owned(), text.to_owned(), true)
        .ok()
        .unwrap();
    file.push(
        &["consumer_groups".into()],
        Item::map([("name", "c".into())]),
    )
    .ok()
    .unwrap();
    file.set(&["mode".into()], "shadow".into()).ok().unwrap();
    file.remove(&["consumer_groups".into(), 0_usize.into()])
        .ok()
        .unwrap();
    let value: serde_json::Value = serde_json::from_str(&file.text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({"version": "1", "mode": "shadow", "consumer_groups": [{"name": "b"}, {"name": "c"}]})
    );
    assert!(
        file.text
            .contains("    {\"name\": \"c\"}\n  ],\n  \"mode\": \"shadow\"\n}"),
        "{}",
        file.text
    );
}

#[test]
fn lines_end_as_the_others_do() {
    let mut file = file(&FILE.replace('\n', "\r\n"));
    let keys = Item::List(vec![Item::map([("sha256", "aa".into())])]);
    let path = group(0, &["api_key".into()]);
    file.replace(&path, "api_keys", keys).ok().unwrap();
    file.push(
        &["consumer_groups".into()],
        Item::map([("name", "new".into())]),
    )
    .ok()
    .unwrap();
    file.remove(&group(1, &[])).ok().unwrap();
    let (all, crlf) = (file.text.matches('\n'), file.text.matches("\r\n"));
    assert_eq!(all.count(), crlf.count(), "{:?}", file.text);
    assert!(!file.text.contains("\r\r"), "{:?}", file.text);
}

#[test]
fn what_an_alias_stands_for_is_left_to_people() {
    let mut file = file("a: &x {k: 1}\nb: *x\nc: &y\n  k: 1\nd:\n  - &z\n    k: 1\n");
    for path in [
        ["b", "k"].map(Step::from).to_vec(),
        ["e", "k"].map(Step::from).to_vec(),
    ] {
        assert!(file.set(&path, Item::Number(2)).is_err(), "{path:?}");
        assert!(file.remove(&path).is_err(), "{path:?}");
    }
    // An anchor's own value changes what its aliases say.
    assert!(
        file.set(&["a".into(), "k".into()], Item::Number(2))
            .is_err()
    );
    assert!(file.remove(&["d".into(), 0_usize.into()]).is_err());
    file.set(&["c".into(), "k".into()], Item::Number(3))
        .ok()
        .unwrap();
    assert_eq!(
        file.text,
        "a: &x {k: 1}\nb: *x\nc: &y\n  k: 3\nd:\n  - &z\n    k: 1\n"
    );
}

/// Every change that this editor makes leaves a file that says what it should; where it makes none, it says so.
#[test]
fn every_example_can_be_changed_everywhere() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/config/valid");
    let (mut tried, mut refused) = (0_usize, Vec::new());
    for example in std::fs::read_dir(examples).unwrap() {
        let example = example.unwrap().path();
        let text = std::fs::read_to_string(&example).unwrap();
        let json = super::is_json(&example);
        let name = example.file_name().unwrap().to_string_lossy().into_owned();
        let open = || PolicyFile::new(name.clone(), text.clone(), json).ok();
        let Some(whole) = open() else {
            refused.push(name.clone());
            continue;
        };
        let mut paths = Vec::new();
        paths_in(&whole.root.item(), &[], &mut paths);
        for path in paths {
            let steps: Vec<_> = path
                .iter()
                .map(|step| step.parse().map_or(Step::Key(step), Step::At))
                .collect();
            let inner = Item::List(vec![Item::map([("b", "c".into())])]);
            for value in [Item::Number(1), Item::map([("a", inner)])] {
                let mut changed = open().unwrap();
                tried = tried.saturating_add(1);
                match changed.set(&steps, value.clone()) {
                    Ok(()) => assert_eq!(changed.item(&steps), Some(value)),
                    Err(_) => refused.push(format!("{name}: set {path:?}")),
                }
            }
            if open().unwrap().remove(&steps).is_err() {
                refused.push(format!("{name}: remove {path:?}"));
            }
        }
    }
    assert!(tried > 500, "{tried}");
    // What an alias repeats, and the only member of a file.
    refused.retain(|what| !what.contains("\"0\", \"allowed_models\"") && !what.contains("minimal"));
    assert!(refused.is_empty(), "{refused:#?}");
}

fn paths_in(item: &Item, path: &[String], all: &mut Vec<Vec<String>>) {
    let mut below = |name: String, item: &Item| {
        let path = [path, &[name]].concat();
        all.push(path.clone());
        paths_in(item, &path, all);
    };
    match item {
        Item::List(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(at, item)| below(at.to_string(), item));
        }
        Item::Map(members) => {
            let members = members.iter();
            members.for_each(|(name, item)| below(name.clone(), item));
        }
        _ => {}
    }
}
