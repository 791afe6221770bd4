//! Where in a text a path leads: for findings that were made when the text was read and left. The command line only.

use super::error::Location;
use super::node::{Node, Span, Value};
use super::yaml;

/// The places of one text.
pub struct Places {
    root: Node,
    /// The text without what may be secret.
    shown: String,
}

impl Places {
    /// Those of a policy, YAML or JSON; `None`: there is no such tree.
    pub fn of_policy(text: &str) -> Option<Self> {
        let (root, shown) = yaml::shown(text)?;
        Some(Self { root, shown })
    }

    /// Those of any YAML or JSON. As nothing is known of what it means, excerpts have names and punctuation only.
    pub fn of_any(text: &str) -> Option<Self> {
        Some(Self {
            root: yaml::tree(text).ok()?,
            shown: yaml::structure(text),
        })
    }

    /// Whether a path leads to something.
    pub fn has(&self, path: &str) -> bool {
        let (mut node, mut rest) = (&self.root, path);
        while let Some((next, _, after)) = step(node, rest) {
            (node, rest) = (next, after);
        }
        rest.is_empty()
    }

    /// Where a path leads, or the last of its steps that is there.
    pub fn find(&self, path: &str) -> Option<Location> {
        let (mut node, mut span, mut rest) = (&self.root, self.root.span, path);
        while let Some((next, at, after)) = step(node, rest) {
            (node, span, rest) = (next, at, after);
        }
        yaml::locate(&self.shown, span)
    }
}

/// The first step of a path: what it leads to, where that begins, and the rest of the path.
fn step<'a, 'p>(node: &'a Node, path: &'p str) -> Option<(&'a Node, Span, &'p str)> {
    match &node.value {
        Value::List(items) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item, item.span, rest))
        }
        Value::Map(members) => {
            let path = path.strip_prefix('.').unwrap_or(path);
            let found = members.iter().filter_map(|member| {
                // As errors write it.
                let name: String = member.key.chars().take(64).collect();
                let name = name.escape_debug().to_string();
                let rest = path.strip_prefix(&*name)?;
                let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                (ends && !name.is_empty()).then_some((member, rest))
            });
            // Names may hold dots: the longest that fits is meant.
            let (member, rest) = found.min_by_key(|(_, rest)| rest.len())?;
            Some((&member.node, member.key_span, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    const POLICY: &str = "\
version: '1'
pricing:
  gpt-4: {input_per_million: 1, output_per_million: 1}
  gpt-4.1: {input_per_million: 1, output_per_million: 1}
consumer_groups:
  - name: a
    api_key: key-of-a # not for eyes
    allowed_models: [gpt-4, o3]
";

    const MISSING: [&str; 3] = [
        "consumer_groups[0].parent",
        "consumer_groups[7].parent",
        "budgets",
    ];

    #[test]
    fn a_path_leads_to_a_place_or_as_near_as_there_is_one() {
        let places = Places::of_policy(POLICY).unwrap();
        for (path, line, column, excerpt) in [
            ("consumer_groups[0]", 6, 5, "- name: a"),
            ("consumer_groups[0].name", 6, 5, "- name: a"),
            ("consumer_groups[0].api_key", 7, 5, "api_key: ********"),
            (
                "consumer_groups[0].allowed_models[1]",
                8,
                29,
                "allowed_models: [gpt-4, o3]",
            ),
            ("consumer_groups[0].parent", 6, 5, "- name: a"),
            ("consumer_groups[7].parent", 5, 1, "consumer_groups:"),
            (
                "pricing.gpt-4.1.input_per_million",
                4,
                13,
                "gpt-4.1: {input_per_million: 1, output_per_million: 1}",
            ),
            ("budgets", 1, 1, "version: '1'"),
            ("", 1, 1, "version: '1'"),
        ] {
            let place = places.find(path).unwrap();
            let found = (place.line, place.column, place.excerpt.trim());
            assert_eq!(found, (line, column, excerpt), "{path}");
            assert_eq!(places.has(path), !MISSING.contains(&path), "{path}");
        }
        let json = "{\"consumer_groups\": [\n {\"name\": \"a\"}\n]}";
        let places = Places::of_any(json).unwrap();
        assert_eq!(places.find("consumer_groups[0].name").unwrap().line, 2);
        assert!(Places::of_any("a: [").is_none());
    }
}
