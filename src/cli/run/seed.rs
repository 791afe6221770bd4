//! What the current windows hold, summed up from the event log: Envoy's memory of it ended with the last Envoy.
//!
//! Uses the policy to find a request's counters, as the filter does. Knows nothing of Envoy.

use super::super::log;
use crate::config::is_counted;
use crate::limit::counter::{Counter, Counters};
use crate::limit::seed::Seed;
use crate::limit::{Clock, Limit, Unit, Window};
use crate::policy::{Group, Place, Policy};
use crate::time::{Timestamp, UtcOffset};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead};
use std::rc::Rc;

/// What of an event matters here.
#[derive(Deserialize)]
struct Event {
    time: String,
    consumer_group: Option<String>,
    consumer: Option<String>,
    key_id: Option<String>,
    model: Option<String>,
    models: Option<Vec<String>>,
    result: String,
    reason: Option<String>,
    #[serde(default)]
    latency_ms: u64,
    #[serde(default)]
    cost_usd: f64,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "prompt_tokens")]
    prompt: u64,
    #[serde(rename = "completion_tokens")]
    completion: u64,
    #[serde(rename = "total_tokens")]
    total: u64,
}

/// What one limit has counted, by bucket: the last moment in it, and how much.
type Buckets = BTreeMap<i64, (Timestamp, u64)>;

/// The sums of one record.
struct Record {
    counter: Rc<Counter>,
    sums: Vec<(Limit, Buckets)>,
}

/// Sums up a log, in whatever parts and order. Lines that are no events are skipped.
pub(super) fn sum(
    logs: impl IntoIterator<Item = impl BufRead>,
    policy: &Policy,
    now: Timestamp,
) -> io::Result<Vec<Seed>> {
    let groups: HashMap<_, _> = (policy.groups.iter())
        .map(|group| (group.name.as_str(), group))
        .collect();
    let consumers: HashMap<_, _> = (policy.consumers.iter())
        .map(|consumer| (&*consumer.name, consumer))
        .collect();
    let mut records: BTreeMap<Rc<str>, Record> = BTreeMap::new();
    // Consumers that the file does not name.
    let mut unlisted: HashSet<String> = HashSet::new();
    let mut line = Vec::new();
    let oldest = oldest(policy, now);
    for mut log in logs {
        while log::next_line(&mut log, &mut line)? {
            if is_before(&line, &oldest) {
                continue;
            }
            if let Ok(event) = serde_json::from_slice::<Event>(&line)
                && let Some(group) = event.consumer_group.as_deref()
                && let Some(group) = groups.get(group)
                && event.counts()
            {
                let consumer = event.consumer.as_deref();
                unlisted.extend(
                    consumer
                        .filter(|name| !consumers.contains_key(name))
                        .map(str::to_owned),
                );
                let consumer = consumer.and_then(|name| consumers.get(name));
                let consumer = consumer.map(|consumer| &***consumer);
                let counters = event.counters(&policy.resolve(group, consumer, Place::default()));
                add(&event, &counters, policy, now, &mut records);
            }
        }
    }
    // Not more of them than the filter itself would keep.
    let mut room = policy.max_unlisted;
    records.retain(|_, record| {
        let consumer = record.counter.descriptor.consumer.as_deref();
        if consumer.is_none_or(|name| !unlisted.contains(name)) {
            return true;
        }
        let has_room = room > 0;
        room = room.saturating_sub(1);
        has_room
    });
    Ok(records.into_values().flat_map(Record::seeds).collect())
}

/// Before this moment, as events write it, nothing can weigh: two months ago, or never where something counts for ever.
fn oldest(policy: &Policy, now: Timestamp) -> String {
    const LONGEST: u64 = 62 * 86_400_000;
    let consumer = Rc::from("");
    let endless = policy.groups.iter().any(|group| {
        let counters = group.counters(&consumer, &[]);
        let mut budgets = counters.iter().flat_map(|counter| counter.budgets.iter());
        budgets.any(|budget| budget.limit.window == Window::Total)
    });
    if endless {
        return String::new();
    }
    Timestamp(now.0.saturating_sub(LONGEST)).to_string()
}

/// Told by the line's first member alone, which is much less work than reading all of it.
fn is_before(line: &[u8], oldest: &str) -> bool {
    let time = line.strip_prefix(b"{\"time\":\"");
    let time = time.and_then(|rest| rest.get(..oldest.len()));
    time.is_some_and(|time| time < oldest.as_bytes())
}

fn add(
    event: &Event,
    counters: &[Rc<Counter>],
    policy: &Policy,
    now: Timestamp,
    records: &mut BTreeMap<Rc<str>, Record>,
) {
    let Some(time) = Timestamp::parse_rfc3339(&event.time, UtcOffset(0)) else {
        return;
    };
    for counter in counters {
        let budgets = counter.budgets.iter().map(|budget| budget.limit);
        let limits = counter.limits.iter().copied().chain(budgets);
        for limit in limits.filter(|limit| is_counted(&limit.name().to_string())) {
            let amount = event.amount(limit.unit);
            // Requests count when they come, tokens when the answer is over.
            let when = if limit.unit.is_settled() {
                time.saturating_add_ms(event.latency_ms)
            } else {
                time
            };
            let bucket = limit.window.index(policy.clock(when));
            if amount == 0 || !is_current(limit.window, bucket, policy.clock(now)) {
                continue;
            }
            let record = records
                .entry(Rc::clone(&counter.record))
                .or_insert_with(|| Record {
                    counter: Rc::clone(counter),
                    sums: Vec::new(),
                });
            record.add(limit, bucket, when, amount);
        }
    }
}

/// Whether anything in a bucket still weighs.
fn is_current(window: Window, bucket: i64, now: Clock) -> bool {
    let current = window.index(now);
    match window {
        Window::Sliding(_) => bucket >= current.saturating_sub(1),
        _ => bucket >= current,
    }
}

impl Event {
    /// What it is counted in, in the group as its consumer has it.
    fn counters(&self, group: &Group) -> Counters {
        let consumer = self.consumer.as_deref().or(self.key_id.as_deref());
        let one = self.model.as_slice();
        let models = self.models.as_deref().unwrap_or(one);
        group.counters(&Rc::from(consumer.unwrap_or_default()), models)
    }

    /// Whether the request was admitted; one that was refused used nothing up.
    fn counts(&self) -> bool {
        match &*self.result {
            "allowed" | "flagged" => true,
            // Its answer was, after it had been paid for.
            "blocked" => self.usage.total > 0,
            // Failed upstream, but for what the filter itself could not do.
            "error" => {
                let own = [
                    "content_filter_unavailable",
                    "internal_error",
                    "limiter_unavailable",
                    "request_incomplete",
                ];
                !self
                    .reason
                    .as_deref()
                    .is_some_and(|reason| own.contains(&reason))
            }
            _ => false,
        }
    }

    fn amount(&self, unit: Unit) -> u64 {
        match unit {
            Unit::CompletionTokens => self.usage.completion,
            Unit::ConcurrentRequests => 0,
            Unit::Cost => log::micro_usd(self.cost_usd),
            Unit::PromptTokens => self.usage.prompt,
            Unit::Requests => 1,
            Unit::Tokens => self.usage.total,
        }
    }
}

impl Record {
    fn add(&mut self, limit: Limit, bucket: i64, when: Timestamp, amount: u64) {
        if !self.sums.iter().any(|(known, _)| *known == limit) {
            self.sums.push((limit, Buckets::new()));
        }
        let sums = self.sums.iter_mut();
        for (_, buckets) in sums.filter(|(known, _)| *known == limit) {
            let (last, sum) = buckets.entry(bucket).or_default();
            *last = when.max(*last);
            *sum = sum.saturating_add(amount);
        }
    }

    fn seeds(self) -> impl Iterator<Item = Seed> {
        let descriptor = self.counter.descriptor.clone();
        let sums = self.sums.into_iter().flat_map(|(limit, buckets)| {
            let buckets = buckets.into_values();
            buckets.map(move |(time, sum)| {
                (
                    time,
                    Limit {
                        quota: sum,
                        ..limit
                    },
                )
            })
        });
        sums.map(move |(time, limit)| Seed {
            descriptor: descriptor.clone(),
            time,
            counted: vec![limit],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::limit::counter::standings;
    use crate::limit::fake::Fake;
    use crate::limit::{SharedData as _, seed};
    use serde_json::json;

    fn policy() -> Policy {
        let config = Config::from_yaml(
            "
version: '1'
ceilings: {rate_limits: {requests_per_day: 100}}
consumer_groups:
  - name: a
    parent: top
    api_keys: [key-one, key-two]
    rate_limits: {requests_per_minute: 10, tokens_per_day: 1000, concurrent_requests: 3}
    consumer_rate_limits: {requests_per_month: 5}
    model_rate_limits: [{models: ['gpt-4o*'], rate_limits: {completion_tokens_per_hour: 50}}]
  - {name: top, rate_limits: {prompt_tokens_per_day: 70}}
",
        );
        Policy::compile(config.unwrap(), |_| None).unwrap()
    }

    fn event(time: &str, result: &str, model: &str) -> serde_json::Value {
        json!({
            "time": time, "consumer_group": "a", "consumer": null, "key_id": "k1", "model": model, "status": 200,
            "latency_ms": 2000, "cost_usd": 0, "result": result, "reason": "upstream_error",
            "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
        })
    }

    fn failed(time: &str, reason: &str) -> serde_json::Value {
        let mut event = event(time, "error", "gpt-4o");
        event["reason"] = json!(reason);
        event
    }

    /// Record and limit, and what is used of it.
    fn used(log: &str, now: &str) -> Vec<String> {
        let policy = policy();
        let now = Timestamp::parse_rfc3339(now, UtcOffset(0)).unwrap();
        let seeds = sum([log.as_bytes()], &policy, now).unwrap();
        let mut shared = Fake::default();
        let clock = policy.clock(now);
        seed::fill(&mut shared, &seeds, clock);
        let counters = policy.groups[0].counters(&Rc::from("k1"), &["gpt-4o".to_owned()]);
        let mut lines = Vec::new();
        for counter in counters.iter() {
            for standing in standings(counter, shared.get(&counter.record).0, clock) {
                if standing.used > 0 {
                    let record = counter.record.trim_start_matches("cohort/1/");
                    lines.push(format!(
                        "{record} {} {}",
                        standing.limit.name(),
                        standing.used
                    ));
                }
            }
        }
        lines
    }

    #[test]
    fn no_more_unlisted_consumers_than_there_is_room_for() {
        let config = Config::from_yaml(
            "
version: '1'
identity: {consumer_header: x-user, trusted: true, max_consumers: 3}
consumer_groups: [{name: a, consumer_rate_limits: {requests_per_day: 9}}]
consumers: [{name: ann, groups: [a]}]
",
        );
        let policy = Policy::compile(config.unwrap(), |_| None).unwrap();
        let names = (0..9).map(|number| format!("user-{number}"));
        let lines = names.chain(["ann".to_owned()]).map(|name| {
            let mut event = event("2026-11-21T08:00:00Z", "allowed", "m");
            event["consumer"] = json!(name);
            event.to_string()
        });
        let log = lines.collect::<Vec<_>>().join("\n");
        let now = Timestamp::parse_rfc3339("2026-11-21T09:00:00Z", UtcOffset(0)).unwrap();
        let seeds = sum([log.as_bytes()], &policy, now).unwrap();
        let names: Vec<_> = (seeds.iter())
            .map(|seed| seed.descriptor.consumer.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["ann", "user-0", "user-1", "user-2"]);
    }

    #[test]
    fn every_counter_gets_what_it_would_hold() {
        let mut refused = event("2026-11-21T08:00:30Z", "blocked", "gpt-4o");
        refused["usage"] = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
        let log = [
            event("2026-10-31T23:59:59Z", "allowed", "gpt-4o"),
            event("2026-11-20T12:00:00Z", "allowed", "gpt-4o"),
            event("2026-11-21T08:00:10Z", "allowed", "gpt-4o"),
            event("2026-11-21T08:00:20Z", "flagged", "o3"),
            refused,
            event("2026-11-21T08:00:40Z", "blocked", "gpt-4.1"),
            failed("2026-11-21T08:00:50Z", "request_incomplete"),
            event("2026-11-21T08:00:58Z", "error", "gpt-4o-mini"),
            failed("2026-11-21T08:00:59Z", "limiter_unavailable"),
        ];
        let log = log.map(|event| event.to_string()).join("\n");
        let log = format!("no event\n{log}\n{{\"time\":\"2026");
        assert_eq!(
            used(&log, "2026-11-21T08:01:30Z"),
            [
                "group/a/models/gpt-4o* completion_tokens_per_hour 6",
                "group/a/consumer/k1 requests_per_month 5",
                // Half of the minute before.
                "group/a requests_per_minute 2",
                "group/a tokens_per_day 52",
                "group/top prompt_tokens_per_day 40",
                "ceilings requests_per_day 4",
            ]
        );
        assert_eq!(used(&log, "2026-12-01T00:00:00Z"), [""; 0]);
    }

    #[test]
    fn what_is_long_past_is_not_even_read() {
        let line = r#"{"time":"2026-11-20T23:59:59.000Z","consumer_group":"a"}"#;
        for (oldest, before) in [
            ("2026-11-20T23:59:59.000Z", false),
            ("2026-11-20T23:59:59.001Z", true),
            ("", false),
        ] {
            assert_eq!(is_before(line.as_bytes(), oldest), before, "{oldest}");
        }
        assert!(!is_before(b"{", "2026"));
    }

    #[test]
    fn tokens_count_when_the_answer_is_over() {
        let log = event("2026-11-20T23:59:59Z", "allowed", "o3").to_string();
        assert_eq!(
            used(&log, "2026-11-21T00:00:05Z"),
            [
                "group/a/consumer/k1 requests_per_month 1",
                "group/a requests_per_minute 1",
                "group/a tokens_per_day 13",
                "group/top prompt_tokens_per_day 10",
            ]
        );
    }
}
