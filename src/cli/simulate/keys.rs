//! Keys for requests whose own nobody has any more: each of the policy's keeps its id, its dates and its owner, and gets
//! another secret, which is known here.

use super::past::Request;
use crate::config::{ApiKey, Config};
use crate::credential::KeyDigest;
use std::collections::HashMap;

/// A policy with keys that are known.
pub(super) struct Keys {
    pub(super) config: Config,
    /// By id: whose, and which.
    known: HashMap<String, Vec<Known>>,
}

struct Known {
    owner: Owner,
    key: String,
}

#[derive(Clone, Eq, PartialEq)]
enum Owner {
    Consumer(String),
    Group(String),
}

impl Keys {
    /// `by_name`: whoever has a consumer or a group in the policy has a key, too.
    pub(super) fn new(mut config: Config, requests: &[Request], by_name: bool) -> Self {
        let mut known: HashMap<String, Vec<Known>> = HashMap::new();
        let mut count = 0_usize;
        let mut next = || {
            count = count.saturating_add(1);
            format!("simulated-{count}")
        };
        for (owner, keys) in owners(&mut config) {
            for key in keys {
                let secret = next();
                key.digest = KeyDigest::of(secret.as_bytes());
                known.entry(key.id.clone()).or_default().push(Known {
                    owner: owner.clone(),
                    key: secret,
                });
            }
        }
        if by_name {
            for request in requests {
                let Some(id) = request.key_id.as_ref().filter(|_| request.known) else {
                    continue;
                };
                let consumer = request.consumer.clone().map(Owner::Consumer);
                let group = request.group.clone().map(Owner::Group);
                // Those of another owner may have the same id.
                let has = |owner: &Owner| {
                    let all = known.get(id);
                    all.is_some_and(|all| all.iter().any(|known| known.owner == *owner))
                };
                let wanted = consumer.into_iter().chain(group);
                let found = wanted.take_while(|owner| !has(owner)).find_map(|owner| {
                    let mut owners = owners(&mut config).into_iter();
                    let (owner, keys) = owners.find(|(other, _)| *other == owner)?;
                    let secret = next();
                    keys.push(new_key(id, &secret));
                    Some(Known { owner, key: secret })
                });
                known.entry(id.clone()).or_default().extend(found);
            }
        }
        Self { config, known }
    }

    /// The key of a request: that of its own consumer or group, or one of that id.
    pub(super) fn of(&self, request: &Request) -> Option<&str> {
        let all = self.known.get(request.key_id.as_ref()?)?;
        let own = |known: &&Known| match &known.owner {
            Owner::Consumer(name) => request.consumer.as_ref() == Some(name),
            Owner::Group(name) => {
                request.consumer.is_none() && request.group.as_ref() == Some(name)
            }
        };
        let found = all.iter().find(own).or_else(|| all.first());
        found.map(|known| known.key.as_str())
    }
}

fn owners(config: &mut Config) -> Vec<(Owner, &mut Vec<ApiKey>)> {
    let groups = config.consumer_groups.iter_mut();
    let groups = groups.map(|group| (Owner::Group(group.name.clone()), &mut group.keys));
    let consumers = config.consumers.iter_mut();
    let consumers =
        consumers.map(|consumer| (Owner::Consumer(consumer.name.clone()), &mut consumer.keys));
    groups.chain(consumers).collect()
}

fn new_key(id: &str, secret: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        digest: KeyDigest::of(secret.as_bytes()),
        plain: false,
        enabled: true,
        not_before: None,
        not_after: None,
        features: Vec::new(),
    }
}
