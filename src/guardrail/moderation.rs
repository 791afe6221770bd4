//! What a moderation endpoint is asked, and what its answer means. The API is `OpenAI`'s, which others offer too.
//! <https://platform.openai.com/docs/api-reference/moderations>

use crate::json::{Container, Scalar, Sink, Span, Text, Writer, decimal, scan};

/// Longer answers are not read: those to one text have 2 KiB.
pub const MAX_ANSWER: usize = 64 * 1024;

/// No more is told of one finding, and no longer names: they are the endpoint's, and go into events.
const MAX_NAMES: usize = 512;
const MAX_NAME: usize = 64;

/// Scores are compared as millionths.
const ONE: f64 = 1e6;

/// What of an endpoint's answer is a finding.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Criteria {
    /// Categories that matter, with all those below them: `hate` is `hate/threatening`, too. None: all that there are.
    pub categories: Vec<String>,
    /// The score from which one is found, in millionths; `None`: where the endpoint itself says so.
    pub threshold: Option<u32>,
}

/// The question about a text: the body of a POST.
pub fn question(text: &str) -> String {
    let mut json = Writer::with_capacity(text.len().saturating_add(64));
    json.open('{').key("input").string(text).close('}');
    json.finish()
}

impl Criteria {
    /// The categories that an answer finds, commas between them; `None` where it does not say anything of those that matter.
    pub fn read(&self, answer: &[u8]) -> Option<String> {
        let mut walk = Walk {
            criteria: self,
            depth: 0,
            results: false,
            section: None,
            category: String::new(),
            said: false,
            found: String::new(),
        };
        scan(answer, &mut walk).ok()?;
        walk.said.then_some(walk.found)
    }

    fn cover(&self, category: &str) -> bool {
        let mut wanted = self.categories.iter();
        self.categories.is_empty()
            || wanted.any(|wanted| {
                let below = category.strip_prefix(wanted.as_str());
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            })
    }
}

/// What stands under a member of a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Section {
    Flags,
    Scores,
}

/// Of `{"results":[{"categories":{"hate":true},"category_scores":{"hate":0.9}}]}` the two inner objects.
#[derive(Debug)]
struct Walk<'a> {
    criteria: &'a Criteria,
    depth: usize,
    results: bool,
    section: Option<Section>,
    /// The one whose value follows, if it matters.
    category: String,
    said: bool,
    found: String,
}

impl Sink for Walk<'_> {
    fn open(&mut self, _: Container, _: u64) {
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self, _: Container, _: u64) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn key(&mut self, key: Text<'_>, _: Span) {
        match self.depth {
            1 => self.results = key.is("results"),
            3 => {
                self.section = if key.is("categories") {
                    Some(Section::Flags)
                } else if key.is("category_scores") {
                    Some(Section::Scores)
                } else {
                    None
                };
            }
            4 => {
                let name = key.as_str().filter(|name| self.criteria.cover(name));
                name.unwrap_or_default().clone_into(&mut self.category);
            }
            _ => {}
        }
    }

    fn scalar(&mut self, value: Scalar<'_>, _: Span) {
        if self.depth != 4 || !self.results || self.category.is_empty() {
            return;
        }
        let found = match (self.section, self.criteria.threshold, value) {
            (Some(Section::Flags), None, Scalar::Bool(flagged)) => flagged,
            (Some(Section::Scores), Some(threshold), Scalar::Number(score)) => {
                let score = std::str::from_utf8(score.bytes).map_or(0.0, decimal);
                score * ONE >= f64::from(threshold)
            }
            _ => return,
        };
        self.said = true;
        let name = if is_name(&self.category) {
            &self.category
        } else {
            "other"
        };
        let mut known = self.found.split(',');
        if found && self.found.len() < MAX_NAMES && known.all(|known| known != name) {
            if !self.found.is_empty() {
                self.found.push(',');
            }
            self.found.push_str(name);
        }
    }
}

/// Whether a category can be told on as it is.
fn is_name(category: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    category.len() <= MAX_NAME && category.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `omni-moderation-latest` answers.
    const ANSWER: &str = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":true,
        "categories":{"harassment":false,"hate":false,"hate/threatening":true,"illicit":null,"violence":true},
        "category_scores":{"harassment":1.2e-05,"hate":0.25,"hate/threatening":0.7512,"illicit":0,"violence":9.9e-1},
        "category_applied_input_types":{"hate":["text"],"hate/threatening":["text"]}}]}"#;

    fn read(categories: &[&str], threshold: Option<u32>, answer: &str) -> Option<String> {
        let criteria = Criteria {
            categories: categories.iter().map(|name| (*name).to_owned()).collect(),
            threshold,
        };
        criteria.read(answer.as_bytes())
    }

    #[test]
    fn a_question_is_json_whatever_the_text() {
        let text = "a \"quote\"\\\n\u{0} é";
        let asked: serde_json::Value = serde_json::from_str(&question(text)).unwrap();
        assert_eq!(asked, serde_json::json!({"input": text}));
    }

    #[test]
    fn categories_and_thresholds() {
        let cases: [(&[&str], Option<u32>, &str); 10] = [
            (&[], None, "hate/threatening,violence"),
            (&["hate"], None, "hate/threatening"),
            (&["hate/threatening"], None, "hate/threatening"),
            (&["harassment"], None, ""),
            (&["hate"], Some(250_000), "hate,hate/threatening"),
            (&["hate"], Some(250_001), "hate/threatening"),
            (&["hate"], Some(750_000), "hate/threatening"),
            (&["hate"], Some(800_000), ""),
            (&["harassment", "violence"], Some(12), "harassment,violence"),
            (&["harassment"], Some(13), ""),
        ];
        for (categories, threshold, found) in cases {
            let case = (categories, threshold);
            assert_eq!(
                read(categories, threshold, ANSWER).as_deref(),
                Some(found),
                "{case:?}"
            );
        }
        // Not a prefix of letters, and not the other way round.
        assert_eq!(read(&["hat"], None, ANSWER), None);
        assert_eq!(read(&["violence/graphic"], None, ANSWER), None);
    }

    #[test]
    fn what_says_nothing_is_no_verdict() {
        let nothing = [
            "",
            "null",
            "[]",
            "{}",
            r#"{"error":{"message":"no"}}"#,
            r#"{"results":[]}"#,
            r#"{"results":[{"flagged":true}]}"#,
            r#"{"results":[{"categories":{"violence":true}}]}"#,
            r#"{"results":[{"categories":{"hate":null}}]}"#,
            r#"{"results":[{"categories":{"hate":"yes"}}]}"#,
            r#"{"results":[{"categories":{"hate":{"hate":true}}}]}"#,
            r#"{"output":[{"categories":{"hate":true}}]}"#,
            r#"{"results":[{"categories":{"hate":true}}]"#,
            r#"{"results":[{"categories":{"hate":true}}]} {}"#,
            "<html>503</html>",
            "\u{feff}{}",
        ];
        for answer in nothing {
            assert_eq!(read(&["hate"], None, answer), None, "{answer}");
        }
        // Scores were wanted and only flags came, or the reverse.
        let flags = r#"{"results":[{"categories":{"hate":true}}]}"#;
        assert_eq!(read(&["hate"], Some(1), flags), None);
        let scores = r#"{"results":[{"category_scores":{"hate":1}}]}"#;
        assert_eq!(read(&["hate"], None, scores), None);
        assert_eq!(read(&["hate"], Some(1), scores).as_deref(), Some("hate"));
    }

    #[test]
    fn an_endpoint_cannot_write_what_it_likes_into_events() {
        let long = "x".repeat(65);
        let answer = format!(
            r#"{{"results":[{{"categories":{{"a b":true,"{long}":true,"ok":true,"\n":true}}}}]}}"#
        );
        assert_eq!(read(&[], None, &answer).as_deref(), Some("other,ok"));
        let many: Vec<String> = (0..500).map(|at| format!("\"c{at}\":true")).collect();
        let answer = format!(r#"{{"results":[{{"categories":{{{}}}}}]}}"#, many.join(","));
        let found = read(&[], None, &answer).unwrap();
        assert!((MAX_NAMES..MAX_NAMES + MAX_NAME).contains(&found.len()));
        let nameless = r#"{"results":[{"categories":{"":true}}]}"#;
        assert_eq!(read(&[], None, nameless), None);
    }
}
