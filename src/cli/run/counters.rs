//! Where every limit stands: the records that Envoy's workers enforce, read with the code that enforces them.

use super::envoy::request;
use super::state;
use crate::config::{self, Config};
use crate::limit::counter::{Counter, Standing, standings};
use crate::limit::{Clock, Descriptor, Unit, Window, readout};
use crate::policy::{Place, Policy};
use crate::render::Level;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use tokio::net::UnixStream;

/// How many records are asked for at a time: their names must fit a request's header.
const BATCH: usize = 100;

/// One object a limit: of each group, its models, its consumers as far as they have used something, and the ceilings.
pub(super) async fn read(config: &Config, clock: Clock) -> io::Result<Vec<Value>> {
    let counters = counters(config);
    let mut rows = Vec::new();
    for batch in counters.chunks(BATCH) {
        let names = batch.iter().map(|counter| &*counter.record);
        let stream = UnixStream::connect(state::path("counters.sock")).await?;
        let answer = request(stream, "GET", &readout::path(names)).await?;
        let records = readout::read(&answer).filter(|records| records.len() == batch.len());
        let records =
            records.ok_or_else(|| io::Error::other("the filter's answer cannot be read"))?;
        for (counter, record) in batch.iter().zip(records) {
            if counter.descriptor.consumer.is_some() && record.is_none() {
                continue;
            }
            let standings = standings(counter, record, clock);
            rows.extend(
                standings
                    .iter()
                    .map(|standing| row(&counter.descriptor, standing)),
            );
        }
    }
    Ok(rows)
}

/// Of each group in file order: all together, by models, and each consumer; then the ceilings.
fn counters(config: &Config) -> Vec<Rc<Counter>> {
    let Ok(policy) = Policy::compile(config.clone(), |_| Some("secret".to_owned())) else {
        return Vec::new();
    };
    let shared: Vec<_> = policy.shared_counters().cloned().collect();
    let consumers = consumers(config);
    let named: BTreeMap<_, _> = (policy.consumers.iter().zip(&config.consumers))
        .map(|(consumer, entry)| (&*consumer.name, (&**consumer, entry)))
        .collect();
    let levels: Vec<_> = Level::all(config).collect();
    let mut counters: Vec<Rc<Counter>> = Vec::new();
    let scopes = policy.groups.iter().map(Some).chain([None]);
    for group in scopes {
        let name = group.map(|group| group.name.as_str());
        let is_own = |counter: &Rc<Counter>| counter.descriptor.group.as_deref() == name;
        counters.extend(shared.iter().filter(|counter| is_own(counter)).cloned());
        let models = levels.iter().filter(|level| {
            level.descriptor.models.is_some() && level.descriptor.group.as_deref() == name
        });
        counters
            .extend(models.map(|level| {
                Rc::new(Counter::new(level.descriptor.clone(), level.limits.clone()))
            }));
        let Some(any) = group.or_else(|| policy.groups.first()) else {
            continue;
        };
        for (consumer, groups) in &consumers {
            if name.is_some_and(|name| !groups.iter().any(|of| of == name)) {
                continue;
            }
            // Above its own group a consumer is one like any other.
            let in_it = |entry: &config::Consumer| {
                let mut groups = entry.groups.iter();
                let mut listed = config.consumer_groups.iter();
                groups.any(|membership| Some(membership.group.as_str()) == name)
                    || listed.any(|group| {
                        Some(group.name.as_str()) == name && group.consumers.contains(&entry.name)
                    })
                    || (entry.groups.is_empty() && config.default_group.as_deref() == name)
            };
            let own = named
                .get(consumer.as_str())
                .filter(|(_, entry)| in_it(entry));
            let own = own.map(|(consumer, _)| *consumer);
            let resolved = policy.resolve(any, own, Place::default());
            let all = resolved.counters(&Rc::from(consumer.as_str()), &[]);
            let has =
                |counter: &Rc<Counter>| counter.descriptor.consumer.is_some() && is_own(counter);
            counters.extend(all.iter().filter(|counter| has(counter)).cloned());
        }
    }
    counters
}

/// Every consumer, with the groups in which it counts: its own and those above.
fn consumers(config: &Config) -> BTreeMap<String, Vec<String>> {
    let parents: BTreeMap<_, _> = (config.consumer_groups.iter())
        .map(|group| (group.name.as_str(), group.parent.as_deref()))
        .collect();
    let mut consumers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |consumer: &str, group: &str| {
        let above = std::iter::successors(Some(group), |name| parents.get(name).copied().flatten());
        // Bounded, should there be a circle.
        let levels = above.take(parents.len()).map(str::to_owned);
        consumers
            .entry(consumer.to_owned())
            .or_default()
            .extend(levels);
    };
    for group in &config.consumer_groups {
        let keys = group.keys.iter().map(|key| &key.id);
        keys.chain(&group.consumers)
            .for_each(|consumer| add(consumer, &group.name));
    }
    for consumer in &config.consumers {
        let groups = consumer.groups.iter().map(|membership| &membership.group);
        groups
            .chain(&config.default_group)
            .for_each(|group| add(&consumer.name, group));
    }
    consumers
}

fn row(of: &Descriptor, standing: &Standing) -> Value {
    let limit = &standing.limit;
    let never = limit.unit == Unit::ConcurrentRequests || limit.window == Window::Total;
    let resets = (!never).then(|| standing.clear_ms.div_ceil(1_000));
    json!({
        "consumer_group": of.group.as_deref(),
        "consumer": of.consumer.as_deref(),
        "models": of.models.as_deref().map(|models| models.split(',').collect::<Vec<_>>()),
        "limit": limit.name().to_string(),
        "quota": limit.quota,
        "used": standing.used,
        "reserved": standing.reserved,
        "remaining": standing.remaining,
        "reset_seconds": resets,
    })
}

#[cfg(test)]
mod tests {
    use super::counters;
    use crate::config::Config;

    #[test]
    fn every_counter_of_every_level_is_asked_for() {
        let config = Config::from_yaml(
            "
version: '1'
ceilings: {consumer_rate_limits: {requests_per_day: 9}}
consumer_groups:
  - name: top
    rate_limits: {requests_per_day: 1}
    consumer_rate_limits: {requests_per_day: 2}
  - name: a
    parent: top
    api_keys: [{id: one, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}]
    model_rate_limits: [{models: ['gpt-4o*', o3], rate_limits: {tokens_per_day: 3}}]
  - name: b
    budgets: [{amount_usd: 5, per: day}]
    api_keys: [{id: two, sha256: aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}]
    consumer_rate_limits: {requests_per_day: 4}
consumers:
  - {name: ann, groups: [b], rate_limits: {requests_per_day: 7}, budgets: [{amount_usd: 1, per: week}]}
  - {name: bob, groups: [a], rate_limits: {tokens_per_day: 8}}
",
        );
        let counters = counters(&config.unwrap());
        let ann = counters
            .iter()
            .find(|counter| counter.record.ends_with("b/consumer/ann"));
        let ann = ann.unwrap();
        assert_eq!((ann.limits[0].quota, ann.budgets.len()), (7, 1));
        let names: Vec<_> = (counters.iter())
            .map(|counter| counter.record.trim_start_matches("cohort/1/"))
            .collect();
        assert_eq!(
            names,
            [
                "group/top",
                "group/top/consumer/bob",
                "group/top/consumer/one",
                "group/a/models/gpt-4o*,o3",
                "group/a/consumer/bob",
                "group/b",
                "group/b/consumer/ann",
                "group/b/consumer/two",
                "ceilings/consumer/ann",
                "ceilings/consumer/bob",
                "ceilings/consumer/one",
                "ceilings/consumer/two",
            ]
        );
    }
}
