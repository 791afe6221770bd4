//! What a request costs, counted: calls between Envoy and the filter, and instructions of the module in between. A clock
//! would say more and be believed less: these numbers are the same on every machine.
//!
//! `UPDATE=1 cargo test --test budgets` writes down what is measured. A rise needs a reason in the commit's message.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use support::counted::start;
use support::vm::kinds::{KEY, Kind, chat, configuration, configuration_with, kinds};
use support::vm::{Cost, Vm};

const BUDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/budgets.txt");
/// Another version of the compiler makes a little more or less of the same code.
const TOLERANCE_PERCENT: u64 = 3;

/// Ways of asking a rate-limit service, and what their `counters` say for it.
const SERVICES: [(&str, &str); 2] = [
    ("rate-limit service, one look and one report", ""),
    ("lease hit", r#","lease":{"requests":100,"max_age":"10s"}"#),
];

fn render(name: &str, cost: &Cost) -> String {
    let mut calls = 0;
    let mut lines = String::new();
    for (function, count) in &cost.calls {
        if *function == "callbacks" {
            continue;
        }
        calls += count;
        let _ = writeln!(lines, "    {count:3} {function}");
    }
    let callbacks = cost.calls.get("callbacks").copied().unwrap_or(0);
    format!(
        "{name}\n  {} instructions\n  {callbacks} callbacks\n  {calls} host calls\n{lines}\n",
        cost.instructions
    )
}

#[test]
fn requests_cost_what_is_written_down() {
    let Some(mut vm) = start(&configuration()) else {
        return;
    };
    let mut measured = render("start of a worker", &vm.cost());
    for kind in kinds() {
        // The first of a kind defines its stats.
        kind.run(&mut vm);
        let outcome = kind.run(&mut vm);
        assert_eq!(outcome.status, kind.status, "{}", kind.name);
        if kind.name.contains("injected") {
            assert!(!outcome.body.contains("prompt_tokens"));
        }
        measured += &render(kind.name, &outcome.cost);
    }
    for (name, lease) in SERVICES {
        let counters =
            format!(r#""counters":{{"store":"rate_limit_service","cluster":"ratelimit"{lease}}},"#);
        let mut vm = start(&configuration_with(&counters)).unwrap();
        let kind = Kind::chat(name, chat(200, ""));
        // A lease grows: hits are asked for by the first, the second, and the fourth.
        for _ in 0..4 {
            kind.run(&mut vm);
        }
        let cost = kind.run(&mut vm).cost;
        let calls = cost.calls.get("http_call").copied();
        assert_eq!(calls, lease.is_empty().then_some(2), "{name}");
        measured += &render(name, &cost);
    }
    // Shown by `--nocapture`, and where the test fails.
    #[allow(clippy::print_stdout, reason = "the table is what one runs this for")]
    {
        println!("{measured}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(BUDGETS, &measured).unwrap();
        return;
    }
    let budgets = fs::read_to_string(BUDGETS).expect("testdata/budgets.txt is there");
    let same = |measured: &str, budget: &str| match (instructions(measured), instructions(budget)) {
        (Some(measured), Some(budget)) => {
            measured.abs_diff(budget) * 100 <= budget * TOLERANCE_PERCENT
        }
        _ => measured == budget,
    };
    for (measured, budget) in measured.split("\n\n").zip(budgets.split("\n\n")) {
        let lines = measured.lines().zip(budget.lines());
        assert!(
            measured.lines().count() == budget.lines().count()
                && lines
                    .clone()
                    .all(|(measured, budget)| same(measured, budget)),
            "not as in testdata/budgets.txt (UPDATE=1 writes it); measured:\n{measured}\nbudget:\n{budget}"
        );
    }
    assert_eq!(
        measured.split("\n\n").count(),
        budgets.split("\n\n").count()
    );
}

fn instructions(line: &str) -> Option<u64> {
    line.trim().strip_suffix(" instructions")?.parse().ok()
}

#[test]
fn memory_stays_what_it_is() {
    let Some(mut vm) = start(&configuration()) else {
        return;
    };
    let kinds = kinds();
    let round = |vm: &mut Vm, times: usize| {
        for kind in &kinds {
            // Large ones take long; what they leave behind is as large.
            let times = if kind.body.len() > 1_000 || kind.answer.len() > 10_000 {
                2
            } else {
                times
            };
            for _ in 0..times {
                kind.run(vm);
            }
        }
    };
    round(&mut vm, 5);
    let before = vm.memory();
    round(&mut vm, 200);
    assert_eq!(vm.memory(), before);
    assert!(before <= 6 << 20, "{before} bytes");
}

/// So many groups, consumers and keys, where the tutorial's traffic asks with one of them.
fn crowd(groups: usize, consumers: usize, keys: usize) -> String {
    const MODELS: &str = r#"["gpt-4o-mini","gpt-4o","gpt-4.1","gpt-4.1-mini","o3","o4-mini","claude-sonnet-4","claude-haiku","gemini-2.5-flash","gemini-2.5-pro"]"#;
    let mut groups: Vec<String> = (0..groups)
        .map(|group| format!(r#"{{"name":"group-{group}","allowed_models":{MODELS},"rate_limits":{{"requests_per_minute":1000000,"tokens_per_minute":100000000,"tokens_per_day":2000000000}}}}"#))
        .collect();
    let count = groups.len();
    let mut digest = 0_u64;
    let consumers: Vec<String> = (0..consumers)
        .map(|consumer| {
            let keys: Vec<String> = (0..keys / consumers)
                .map(|_| {
                    // Distinct, and spread as digests are.
                    digest = digest.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    format!(r#"{{"sha256":"{digest:016x}{digest:016x}{digest:016x}{digest:016x}"}}"#)
                })
                .collect();
            let own = if consumer == 7 { format!(r#","api_key":"{}""#, KEY.trim_start_matches("Bearer ")) } else { String::new() };
            format!(
                r#"{{"name":"user-{consumer}@example.org","groups":["group-{}"],"api_keys":[{}]{own}}}"#,
                consumer % count,
                keys.join(",")
            )
        })
        .collect();
    groups.push(r#"{"name":"limited","api_key":"sk-limited"}"#.to_owned());
    format!(
        r#"{{"version":"1","providers":{{"targets":[{{"id":"openai","provider":"openai","secret_key_ref":{{"env":"OPENAI_API_KEY"}}}}]}},"consumer_groups":[{}],"consumers":[{}]}}"#,
        groups.join(","),
        consumers.join(",")
    )
}

#[test]
fn a_hundred_thousand_keys_cost_a_request_nothing() {
    let Some(mut few) = start(&crowd(8, 10, 10)) else {
        return;
    };
    let mut many = start(&crowd(1_000, 10_000, 100_000)).unwrap();
    #[allow(clippy::print_stdout, reason = "what one may want to know")]
    {
        println!(
            "{} instructions to load, {} bytes",
            many.cost().instructions,
            many.memory()
        );
    }
    assert!(many.memory() < 56_000_000, "{} bytes", many.memory());
    // A second or so, with Envoy's compiler.
    let load = many.cost().instructions;
    assert!(load < 2_500_000_000, "{load} instructions");
    let cost = |vm: &mut Vm| {
        let kind = Kind::chat("chat", chat(200, ""));
        kind.run(vm);
        kind.run(vm).cost
    };
    let (few, many) = (cost(&mut few), cost(&mut many));
    assert_eq!(few.calls, many.calls);
    assert!(
        many.instructions * 100 <= few.instructions * (100 + TOLERANCE_PERCENT),
        "{} against {}",
        many.instructions,
        few.instructions
    );
}
