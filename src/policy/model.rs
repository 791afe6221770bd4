//! Which models a group may use.

use crate::config::Rules;

/// An exact model name, or a glob in which `*` stands for anything. Compared byte for byte.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelPattern {
    text: String,
    glob: bool,
}

impl ModelPattern {
    /// Compiles the text of the configuration.
    pub fn new(text: String) -> Self {
        let glob = text.contains('*');
        Self { text, glob }
    }

    /// As the configuration has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is one name rather than many.
    pub const fn is_exact(&self) -> bool {
        !self.glob
    }

    /// Whether a model falls under it. Linear in the two lengths: each piece between stars is looked for once, leftmost first.
    pub fn matches(&self, model: &str) -> bool {
        if !self.glob {
            return self.text == model;
        }
        let mut pieces = self.text.split('*');
        let (Some(first), Some(last)) = (pieces.next(), pieces.next_back()) else {
            return false;
        };
        let Some(rest) = model.strip_prefix(first) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last) else {
            return false;
        };
        for piece in pieces {
            // `str::find` is the two-way algorithm: linear, whatever the piece.
            let Some((_, after)) = rest.split_once(piece) else {
                return false;
            };
            rest = after;
        }
        true
    }

    /// Whether some model may fall under both; of two globs only their ends are looked at.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        if !self.glob {
            return other.matches(&self.text);
        }
        if !other.glob {
            return self.matches(&other.text);
        }
        let starts = [&self.text, &other.text].map(|text| text.split('*').next().unwrap_or(text));
        let ends = [&self.text, &other.text].map(|text| text.rsplit('*').next().unwrap_or(text));
        let [a, b] = starts;
        let [c, d] = ends;
        (a.starts_with(b) || b.starts_with(a)) && (c.ends_with(d) || d.ends_with(c))
    }
}

/// The label of every model that the configuration does not name.
pub const OTHER_MODEL: &str = "other";

/// `allowed_models`, `denied_models`, `default_model`, `model_aliases` of one group.
#[derive(Debug)]
pub struct ModelRules {
    /// `None`: every model.
    pub allowed: Option<Vec<ModelPattern>>,
    /// Wins over `allowed`.
    pub denied: Vec<ModelPattern>,
    /// Written into a body that names no model.
    pub default: Option<String>,
    /// `(alias, target)`
    pub aliases: Vec<(String, String)>,
}

impl ModelRules {
    /// Compiles the fields of the same names.
    pub(super) fn compile(rules: &Rules) -> Self {
        let patterns = |list: &Vec<String>| list.iter().cloned().map(ModelPattern::new).collect();
        Self {
            allowed: rules.allowed_models.as_ref().map(patterns),
            denied: rules
                .denied_models
                .as_ref()
                .map(patterns)
                .unwrap_or_default(),
            default: rules.default_model.clone(),
            aliases: rules.model_aliases.clone().unwrap_or_default(),
        }
    }

    /// Whether the group may use this model.
    pub fn allow(&self, model: &str) -> bool {
        let allowed = self
            .allowed
            .as_ref()
            .is_none_or(|list| list.iter().any(|pattern| pattern.matches(model)));
        allowed && !self.denied.iter().any(|pattern| pattern.matches(model))
    }

    /// Whether nothing that a pattern stands for is allowed, as far as patterns show it.
    pub(super) fn exclude(&self, pattern: &ModelPattern) -> bool {
        // A glob that matches another's text, stars and all, covers everything that one does.
        let denied = (self.denied.iter()).any(|denied| denied.matches(&pattern.text));
        let open = |list: &Vec<ModelPattern>| list.iter().any(|known| known.overlaps(pattern));
        denied || !self.allowed.as_ref().is_none_or(open)
    }

    /// Whether any model at all would be refused.
    pub const fn restrict(&self) -> bool {
        self.allowed.is_some() || !self.denied.is_empty()
    }

    /// The model that an alias stands for.
    pub fn alias(&self, model: &str) -> Option<&str> {
        self.aliases
            .iter()
            .find(|(alias, _)| alias == model)
            .map(|(_, target)| target.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, model: &str) -> bool {
        ModelPattern::new(pattern.to_owned()).matches(model)
    }

    #[test]
    fn globs() {
        for (pattern, model, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "GPT-4o", false),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini-2024", false),
            ("gpt-*-mini", "gpt-4o-mini", true),
            ("gpt-*-mini", "gpt-mini", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("**", "x", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aba", false),
        ] {
            assert_eq!(matches(pattern, model), expected, "{pattern} {model}");
        }
    }

    /// The textbook definition, exponential and plainly right.
    fn reference(pattern: &[u8], model: &[u8]) -> bool {
        match pattern.split_first() {
            None => model.is_empty(),
            Some((b'*', rest)) => (0..=model.len()).any(|at| reference(rest, &model[at..])),
            Some((byte, rest)) => model.first() == Some(byte) && reference(rest, &model[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_mean_what_the_definition_says(pattern in "[ab*]{0,8}", model in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &model), reference(pattern.as_bytes(), model.as_bytes()));
        }

        #[test]
        fn nothing_that_is_excluded_is_allowed(
            allowed in proptest::option::of("[ab*]{1,4}"),
            denied in proptest::option::of("[ab*]{1,4}"),
            pattern in "[ab*]{1,4}",
            model in "[ab]{0,6}",
        ) {
            let rules = ModelRules::compile(&Rules {
                allowed_models: allowed.map(|one| vec![one]),
                denied_models: denied.map(|one| vec![one]),
                ..Rules::default()
            });
            let pattern = ModelPattern::new(pattern);
            prop_assume!(pattern.matches(&model) && rules.allow(&model));
            prop_assert!(!rules.exclude(&pattern));
        }
    }

    #[test]
    fn a_glob_made_to_be_slow_is_not() {
        let pattern = "a*".repeat(2_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(200_000)));
    }

    #[test]
    fn deny_wins() {
        let patterns = |list: &[&str]| {
            list.iter()
                .map(|p| ModelPattern::new((*p).to_owned()))
                .collect::<Vec<_>>()
        };
        let rules = ModelRules {
            allowed: Some(patterns(&["gpt-*", "o3"])),
            denied: patterns(&["gpt-5*"]),
            default: None,
            aliases: vec![("fast".to_owned(), "gpt-4o-mini".to_owned())],
        };
        assert!(rules.allow("gpt-4o") && rules.allow("o3"));
        assert!(!rules.allow("gpt-5-pro") && !rules.allow("claude"));
        assert_eq!(rules.alias("fast"), Some("gpt-4o-mini"));
    }
}
