//! Policies that ask a moderation endpoint: whom, and what follows from the answer.

use super::{Found, Hit, Target};
use crate::config::{FailureMode, Moderation, PolicyAction, Provider};
use crate::guardrail::Criteria;
use std::rc::Rc;

/// A moderation endpoint, and the policies that ask it.
#[derive(Debug)]
pub struct Moderator {
    /// The Envoy cluster.
    pub cluster: String,
    /// Where in it.
    pub path: String,
    /// How long its answer is waited for, in milliseconds.
    pub timeout_ms: u32,
    /// The target whose cluster it is, and whose key is sent.
    target: Option<Rc<Target>>,
    filters: Vec<ContentFilter>,
}

/// A `content_filter`.
#[derive(Debug)]
struct ContentFilter {
    criteria: Criteria,
    deny: bool,
    /// What it says, but for what it found.
    hit: Hit,
}

impl Moderator {
    /// Adds a policy to those that ask. `None`: there is nobody to ask.
    pub(super) fn add(
        moderators: &mut Vec<Self>,
        config: &Moderation,
        targets: &[Rc<Target>],
        hit: Hit,
    ) -> Option<()> {
        let mut targets = targets.iter();
        let target = match &config.cluster {
            Some(cluster) => targets.find(|target| target.cluster == *cluster),
            None => Some(targets.find(|target| target.provider == Provider::OpenAi)?),
        };
        let own = target.map(|target| &target.cluster);
        let cluster = config.cluster.as_ref().or(own)?;
        let filter = ContentFilter {
            criteria: config.criteria.clone(),
            deny: config.failure_mode == FailureMode::Deny,
            hit,
        };
        let same = |known: &&mut Self| {
            (&known.cluster, &known.path, known.timeout_ms)
                == (cluster, &config.path, config.timeout_ms)
        };
        match moderators.iter_mut().find(same) {
            // One question serves them all.
            Some(known) => known.filters.push(filter),
            None => moderators.push(Self {
                cluster: cluster.clone(),
                path: config.path.clone(),
                timeout_ms: config.timeout_ms,
                target: target.cloned(),
                filters: vec![filter],
            }),
        }
        Some(())
    }

    /// The value of `:authority`: the host in the name of a cluster as Istio writes it (`outbound|443||api.openai.com`);
    /// `OpenAI`'s for a target of provider `openai`; else the cluster's name.
    pub fn authority(&self) -> &str {
        if let Some((_, host)) = self.cluster.rsplit_once('|') {
            return host;
        }
        match &self.target {
            Some(target) if target.provider == Provider::OpenAi => "api.openai.com",
            _ => &self.cluster,
        }
    }

    /// The header field with the key.
    pub fn credential(&self) -> Option<(&'static str, &[u8])> {
        let target = self.target.as_ref()?;
        Some(target.injection.as_ref()?.field())
    }

    /// Whether a request is held until there is an answer: only where that may refuse it.
    pub fn holds(&self) -> bool {
        self.filters.iter().any(ContentFilter::refuses)
    }

    /// What its policies have to say when an answer has come, or `None` in its place. `true`: a request that was not judged
    /// is to be refused.
    pub fn judge(&self, answer: Option<&[u8]>, hits: &mut Vec<Hit>) -> bool {
        let mut denied = false;
        for filter in &self.filters {
            let found = answer.and_then(|answer| filter.criteria.read(answer));
            denied |= found.is_none() && filter.deny && filter.refuses();
            if found.as_ref().is_none_or(|found| !found.is_empty()) {
                hits.push(Hit {
                    found: found.map(|found| Found::Categories(found.into())),
                    ..filter.hit.clone()
                });
            }
        }
        denied
    }
}

impl ContentFilter {
    fn refuses(&self) -> bool {
        self.hit.action != PolicyAction::Flag && !self.hit.shadow
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::policy::Policy;
    use serde_json::{Value, json};

    /// Cluster, authority and credential of what a `content_filter` asks.
    fn asked(config: &Value, targets: &Value) -> Option<(String, String, Option<String>)> {
        let document = json!({
            "version": "1",
            "providers": {"targets": targets},
            "consumer_groups": [{"name": "a", "api_key": "key-of-a",
                "policies": [{"name": "p", "type": "content_filter", "config": config}]}],
        });
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        let policy = Policy::compile(config, |name| Some(format!("value-of-{name}"))).unwrap();
        let moderator = policy.groups[0].screening.moderators.first()?;
        let key = moderator
            .credential()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
        Some((
            moderator.cluster.clone(),
            moderator.authority().to_owned(),
            key,
        ))
    }

    #[test]
    fn whom_it_asks_and_with_which_key() {
        let target = |id: &str, provider: &str, cluster: &str| json!({"id": id, "provider": provider, "cluster": cluster, "secret_key_ref": {"env": id}});
        let claude = target("claude", "anthropic", "claude");
        let first = target("first", "openai", "outbound|443||llm.example.com");
        let second = target("second", "openai", "second");
        let bearer = |id: &str| Some(format!("authorization: Bearer value-of-{id}"));
        let cases = [
            (json!({}), json!([]), None),
            (json!({}), json!([claude]), None),
            (
                json!({}),
                json!([claude, first, second]),
                Some((
                    "outbound|443||llm.example.com",
                    "llm.example.com",
                    bearer("first"),
                )),
            ),
            (
                json!({"cluster": "second"}),
                json!([claude, first, second]),
                Some(("second", "api.openai.com", bearer("second"))),
            ),
            (
                json!({"cluster": "claude"}),
                json!([claude, first]),
                Some((
                    "claude",
                    "claude",
                    Some("x-api-key: value-of-claude".to_owned()),
                )),
            ),
            // A key goes to its own cluster only.
            (
                json!({"cluster": "guard.local"}),
                json!([claude, first]),
                Some(("guard.local", "guard.local", None)),
            ),
            (
                json!({}),
                json!([{"id": "bare", "provider": "openai"}]),
                Some(("bare", "api.openai.com", None)),
            ),
        ];
        for (config, targets, expected) in cases {
            let expected = expected
                .map(|(cluster, authority, key)| (cluster.to_owned(), authority.to_owned(), key));
            assert_eq!(asked(&config, &targets), expected, "{config}");
        }
    }
}
