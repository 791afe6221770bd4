//! Where every limit stands: the records that Envoy's workers enforce, read with the code that enforces them.

use super::envoy::request;
use super::state;
use crate::config::Config;
use crate::limit::counter::{Counter, Standing, standings};
use crate::limit::{Clock, Descriptor, Unit, readout};
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

fn counters(config: &Config) -> Vec<Counter> {
    let consumers = consumers(config);
    let mut counters = Vec::new();
    for level in Level::all(config) {
        let limits = level.limits.clone();
        if !level.per_consumer {
            counters.push(Counter::new(level.descriptor, limits));
            continue;
        }
        let group = level.descriptor.group.as_deref();
        for (consumer, groups) in &consumers {
            if group.is_none_or(|group| groups.iter().any(|of| of == group)) {
                let descriptor = Descriptor {
                    consumer: Some(Rc::from(consumer.as_str())),
                    ..level.descriptor.clone()
                };
                counters.push(Counter::new(descriptor, limits.clone()));
            }
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
    let resets =
        (limit.unit != Unit::ConcurrentRequests).then(|| standing.clear_ms.div_ceil(1_000));
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
    api_keys: [{id: two, sha256: aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}]
    consumer_rate_limits: {requests_per_day: 4}
",
        );
        let counters = counters(&config.unwrap());
        let names: Vec<_> = (counters.iter())
            .map(|counter| counter.record.trim_start_matches("cohort/1/"))
            .collect();
        assert_eq!(
            names,
            [
                "group/top",
                "group/top/consumer/one",
                "group/a/models/gpt-4o*,o3",
                "group/b/consumer/two",
                "ceilings/consumer/one",
                "ceilings/consumer/two",
            ]
        );
    }
}
