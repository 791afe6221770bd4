//! Calls of 100 to 300 tokens against a limit of 1,000, or a budget of as many dollars at one a token.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Request, Response};
use super::envoy::{Gateway, Running};
use super::upstream::{Gate, Upstream, chat_of};

/// `tokens_per_day` of every group.
pub(crate) const LIMIT: u64 = 1_000;
/// What an answer costs: these, round and round.
const ANSWERS: [u64; 7] = [80, 260, 150, 280, 90, 200, 120];

/// How calls are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) stream: bool,
    /// With `max_tokens`.
    pub(crate) bounded: bool,
}

/// A gateway with groups that have a limit on tokens; the group is the key.
pub(crate) struct Tokens {
    pub(crate) gateway: Running,
    upstream: Upstream,
    gate: Gate,
    /// What the prompt costs, which is what the gateway takes it for.
    pub(crate) prompt: u64,
    /// The least that an answer costs.
    pub(crate) shortest: u64,
}

/// 80 bytes of text: 20 tokens, and no limit has less.
const PROMPT: u64 = 20;

impl Tokens {
    pub(crate) async fn start() -> Option<Self> {
        let limits = json!({"rate_limits": {"tokens_per_day": LIMIT}});
        Self::under(limits).await
    }

    pub(crate) async fn start_with_budgets() -> Option<Self> {
        let price = json!({"input_per_million": 1_000_000, "output_per_million": 1_000_000});
        let budgets = json!([{"amount_usd": LIMIT, "per": "day", "alert_at": [1.0]}]);
        Self::under(json!({"pricing": {"*": price}, "budgets": budgets})).await
    }

    async fn under(defaults: Value) -> Option<Self> {
        let groups = [
            "bounded-false",
            "bounded-true",
            "unbounded-false",
            "unbounded-true",
        ];
        let groups = groups.map(|name| json!({"name": name, "api_key": name}));
        let policy = json!({"version": "1", "defaults": defaults, "consumer_groups": groups});
        let gate = Gate::default();
        gate.open();
        let upstream = Upstream::start({
            let gate = gate.clone();
            move |seen| {
                let answer = seen.json()["seed"].as_u64().unwrap_or_default();
                chat_of(seen, PROMPT, answer).late(&gate)
            }
        })
        .await;
        let gateway = Gateway::new(policy)
            .cluster("openai", upstream.address())
            .start()
            .await?;
        Some(Self {
            gateway,
            upstream,
            gate,
            prompt: PROMPT,
            shortest: ANSWERS.into_iter().min().unwrap_or_default(),
        })
    }

    fn request(key: &str, calls: Calls, answer: u64) -> Request {
        let messages = json!([{"role": "user", "content": "x".repeat(76)}]);
        let mut body = json!({
            "model": "gpt-4o",
            "seed": answer,
            "stream": calls.stream,
            "messages": messages,
        });
        if calls.bounded {
            body["max_tokens"] = json!(answer);
        }
        Request::post("/v1/chat/completions")
            .bearer(key)
            .json(&body)
    }

    fn requests(key: &str, calls: Calls, count: usize) -> impl Iterator<Item = Request> {
        let answers = ANSWERS.into_iter().cycle().take(count);
        answers.map(move |answer| Self::request(key, calls, answer))
    }

    /// So many calls at the same time: no answer ends before all are decided.
    pub(crate) async fn held_at_once(
        &self,
        key: &str,
        calls: Calls,
        count: usize,
    ) -> Vec<Response> {
        self.gate.close();
        let before = self.upstream.count();
        let mut clients = JoinSet::new();
        for request in Self::requests(key, calls, count) {
            let address = self.gateway.address();
            clients.spawn(async move { request.send(address).await.expect("an answer") });
        }
        let mut answers = Vec::new();
        while answers.len() + (self.upstream.count() - before) < count {
            let next = tokio::time::timeout(Duration::from_millis(20), clients.join_next());
            if let Ok(Some(answer)) = next.await {
                answers.push(answer.expect("it ends"));
            }
        }
        self.gate.open();
        answers.extend(clients.join_all().await);
        answers
    }

    /// So many callers, each of which tries until it has passed or can never do.
    pub(crate) async fn until_used_up(&self, key: &str, calls: Calls, count: usize) {
        let mut callers = JoinSet::new();
        for request in Self::requests(key, calls, count) {
            let address = self.gateway.address();
            callers.spawn(async move {
                loop {
                    let answer = request.send(address).await.expect("an answer");
                    let wait = answer.header("retry-after").map(str::parse::<u64>);
                    // A second: for what others hold. More: until midnight, for good.
                    match (answer.status, wait) {
                        (429, Some(Ok(1))) => sleep(Duration::from_millis(20)).await,
                        (200, None) | (429, Some(Ok(2..))) => return,
                        _ => panic!("{answer:?}"),
                    }
                }
            });
        }
        callers.join_all().await;
    }

    /// What all calls of a group have used, and what was reserved too little for them, where a call of `actual` tokens
    /// had reserved `reserved(actual)`.
    pub(crate) fn used_and_short(&self, key: &str, reserved: impl Fn(u64) -> u64) -> (u64, u64) {
        let seen = self.upstream.seen();
        let of_group = seen
            .iter()
            .filter(|seen| seen.header("x-consumer-group") == Some(key.as_bytes()));
        let actual: Vec<u64> = of_group
            .map(|seen| PROMPT + seen.json()["seed"].as_u64().unwrap_or_default())
            .collect();
        let short = actual
            .iter()
            .map(|&actual| actual.saturating_sub(reserved(actual)));
        (actual.iter().sum(), short.sum())
    }

    /// What is left is there to the last token, where anything is.
    pub(crate) async fn assert_nothing_is_reserved(&self, key: &str, used: u64) {
        let Some(left) = LIMIT.checked_sub(used + PROMPT).filter(|left| *left > 0) else {
            return;
        };
        // The last answers may be on their way to the log.
        sleep(Duration::from_millis(100)).await;
        let calls = Calls {
            stream: false,
            bounded: true,
        };
        for (more, status) in [(1, 429), (0, 200)] {
            let answer = self
                .gateway
                .send(Self::request(key, calls, left + more))
                .await;
            assert_eq!(answer.status, status, "{left} + {more}: {}", answer.text());
        }
    }
}
