//! Manifests held against the fields of their custom resources, which `testdata/render/crd/` keeps.

use serde_json::Value;
use std::fs;
use std::path::Path;

/// What API servers check themselves.
const METADATA: [&str; 4] = ["annotations", "labels", "name", "namespace"];

/// The kinds of every file, `group/version Kind`, and their fields.
pub(crate) fn kinds() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/render/crd");
    let mut kinds = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("commit "), "where is it from?");
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        kinds.extend(file.as_object().unwrap().clone());
    }
    kinds
}

/// What is wrong with a manifest, each with its path.
pub(crate) fn problems(manifest: &Value, kinds: &[(String, Value)]) -> Vec<String> {
    let text = |name: &str| manifest[name].as_str().unwrap_or("?");
    let kind = format!("{} {}", text("apiVersion"), text("kind"));
    let Some((_, shape)) = kinds.iter().find(|(name, _)| *name == kind) else {
        return vec![format!("unknown: {kind}")];
    };
    let mut problems = Vec::new();
    let mut rest = manifest.as_object().unwrap().clone();
    for name in ["apiVersion", "kind"] {
        rest.remove(name);
    }
    let metadata = rest.remove("metadata").unwrap_or_default();
    for name in metadata.as_object().unwrap().keys() {
        if !METADATA.contains(&&**name) {
            problems.push(format!("{kind}: metadata.{name}"));
        }
    }
    if !metadata["name"].is_string() {
        problems.push(format!("{kind}: no name"));
    }
    check(&Value::from(rest), shape, &kind, &mut problems);
    problems
}

fn check(value: &Value, shape: &Value, path: &str, problems: &mut Vec<String>) {
    match (shape, value) {
        (Value::Object(fields), Value::Object(members)) => {
            for (name, value) in members {
                let required = format!("{name}!");
                let known = [name, &required, "*"]
                    .into_iter()
                    .find_map(|name| fields.get(name));
                match known {
                    Some(shape) => check(value, shape, &format!("{path}.{name}"), problems),
                    None => problems.push(format!("{path}.{name}: unknown field")),
                }
            }
            for name in fields.keys().filter_map(|name| name.strip_suffix('!')) {
                if !members.contains_key(name) {
                    problems.push(format!("{path}.{name}: missing"));
                }
            }
        }
        (Value::Array(items), Value::Array(values)) => {
            for (at, value) in values.iter().enumerate() {
                check(value, &items[0], &format!("{path}[{at}]"), problems);
            }
        }
        (Value::String(kind), value) => {
            let fits = match (&**kind, value) {
                ("any", _)
                | ("string" | "size", Value::String(_))
                | ("boolean", Value::Bool(_))
                | ("integer" | "size", Value::Number(_)) => true,
                (choices, Value::String(text)) => choices.split('|').any(|choice| choice == text),
                _ => false,
            };
            if !fits {
                problems.push(format!("{path}: {value} is not {kind}"));
            }
        }
        _ => problems.push(format!("{path}: {value} is not {shape}")),
    }
}

/// The manifest with a field that no resource has, once in every map that the schema knows: each must be found.
pub(crate) fn misspelt(manifest: &Value) -> Vec<Value> {
    let mut paths = Vec::new();
    maps(manifest, String::new(), &mut paths);
    let with = |path: &String| {
        let mut manifest = manifest.clone();
        manifest.pointer_mut(path).unwrap()["xMisspelt"] = true.into();
        manifest
    };
    paths.iter().map(with).collect()
}

fn maps(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                // What follows is Envoy's, the filter's, or the author's to name.
                let free = ["value", "pluginConfig", "config", "matchLabels", "labels"];
                let labels = name == "selector" && members.contains_key("servers");
                if !free.contains(&&**name) && !labels && name != "headers" {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    maps(value, format!("{path}/{name}"), paths);
                }
            }
            paths.push(path);
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                maps(item, format!("{path}/{at}"), paths);
            }
        }
        _ => {}
    }
}
