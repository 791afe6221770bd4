//! What the filter costs Envoy, beside Envoy's own filters at the same work: CPU time of the Envoy process per request.
//!
//! One Envoy, one worker, one listener for each contender, the upstream outside; rounds are interleaved, so that what else
//! the machine does meets all of them. `make bench` runs it and writes the tables into `docs/performance.md`;
//! `make bench QUICK=1` only prints short ones, `make bench ONLY=service` one of them. Needs `wrk` and `curl`.
#![allow(
    clippy::pedantic,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

mod contenders;
mod load;
mod service;
mod upstream;

use contenders::{Contender, OURS, SAME_WORK, SAME_WORK_ASKING, crowded, policy, policy_with};
use load::{Bench, Programs, Rounds, Stream};
use serde_json::json;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const BEGIN: &str = "<!-- make bench: begin -->\n";
const END: &str = "<!-- make bench: end -->\n";

fn main() {
    if let Some(port) = env::args()
        .skip_while(|argument| argument != "upstream")
        .nth(1)
    {
        let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
        return upstream::serve(&listener);
    }
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("NOT MEASURED: wrk is missing (Debian's package wrk)");
        return;
    }
    let (Ok(envoy), Ok(wasm), Ok(ratelimitd)) = (
        env::var("ENVOY"),
        env::var("COHORT_WASM"),
        env::var("RATELIMITD"),
    ) else {
        println!(
            "NOT MEASURED: ENVOY, COHORT_WASM and RATELIMITD are not set; `make bench` sets them"
        );
        return;
    };
    let programs = Programs {
        envoy,
        wasm,
        ratelimitd,
    };
    let is_set = |name| env::var(name).is_ok_and(|value| !value.is_empty());
    let quick = is_set("QUICK");
    let rounds = Rounds {
        count: if quick { 3 } else { 5 },
        seconds: 1,
    };
    let only = env::var("ONLY").unwrap_or_default();
    let mut report = String::new();
    for (name, table) in [
        ("work", same_work as fn(&Programs, Rounds, bool) -> String),
        ("service", rate_limit_service),
        ("crowd", crowds),
        ("memory", memory),
    ] {
        if only.is_empty() || only == name {
            let table = table(&programs, rounds, quick);
            println!("{table}");
            report.push_str(&table);
        }
    }
    if !quick && only.is_empty() {
        write_down(&(head(&programs) + report.trim_end() + "\n"));
    }
}

/// All contenders, with requests and answers of several kinds.
fn same_work(programs: &Programs, rounds: Rounds, quick: bool) -> String {
    let mut kinds = vec![
        ("200 B", 200, Stream::None),
        ("16 KB", 16 << 10, Stream::None),
        ("256 KB", 256 << 10, Stream::None),
        ("SSE answer", 200, Stream::Plain),
    ];
    if !quick {
        kinds.push(("SSE, usage asked for", 200, Stream::WithUsage));
        kinds.push(("900 KB", 900 << 10, Stream::None));
    }
    let standard = policy_with(101, "rate_limit_headers", json!(["standard"]));
    let ours = [
        Contender::Ours(OURS, policy(101)),
        Contender::Ours("cohort, standard headers", standard),
    ];
    let contenders: Vec<_> = Contender::peers().chain(ours).collect();
    let names: Vec<_> = contenders.iter().map(Contender::name).collect();
    let bench = Bench::start(programs, 1, &contenders, false);
    let columns: Vec<_> = kinds
        .iter()
        .map(|(_, size, stream)| bench.measure(&names, SAME_WORK, *size, *stream, rounds))
        .collect();
    let mut table = format!(
        "CPU microseconds of Envoy per request (times `{SAME_WORK}` in the same round, median of {} rounds of {} s; 101 keys, 6 groups, 10 models a group):\n\n",
        rounds.count, rounds.seconds
    );
    let heads: Vec<_> = kinds.iter().map(|(name, ..)| *name).collect();
    let _ = writeln!(table, "| | {} |", heads.join(" | "));
    let _ = writeln!(table, "|---|{}", "---|".repeat(kinds.len()));
    for (row, name) in names.iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| format!("{:.0} ({:.2})", column[row].cpu, column[row].ratio))
            .collect();
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    }
    table + "\n"
}

/// Counted by a service, against Envoy's filter that asks the same one; and with leases, against shared data.
fn rate_limit_service(programs: &Programs, rounds: Rounds, _: bool) -> String {
    const ASKING: &str = "cohort, one look and one report";
    const LEASED: &str = "cohort, leases";
    // Slow answers are for the machine to give, and not to be mistaken for cheap ones.
    let counters = json!({"store": "rate_limit_service", "cluster": "ratelimit", "timeout": "10s", "failure_mode": "deny"});
    let mut leased = counters.clone();
    leased["lease"] = json!({"requests": 1000, "max_age": "1s"});
    let contenders = [
        Contender::PeerAsking,
        Contender::Ours(ASKING, policy_with(101, "counters", counters)),
        Contender::Ours(OURS, policy(101)),
        Contender::Ours(LEASED, policy_with(101, "counters", leased)),
    ];
    let bench = Bench::start(programs, 1, &contenders, true);
    let mut table = "With a rate-limit service, 200 B; its own CPU is outside:\n\n\
        | | CPU us | calls per request | times |\n|---|---|---|---|\n"
        .to_owned();
    for pair in [[SAME_WORK_ASKING, ASKING], [OURS, LEASED]] {
        let costs = bench.measure(&pair, pair[0], 200, Stream::None, rounds);
        for (name, cost) in pair.iter().zip(costs) {
            let _ = writeln!(
                table,
                "| {name} | {:.0} | {:.2} | {:.2} |",
                cost.cpu, cost.calls, cost.ratio
            );
        }
    }
    table + "\n"
}

/// More keys, and more workers.
fn crowds(programs: &Programs, rounds: Rounds, quick: bool) -> String {
    let mut table = format!(
        "The filter with more keys, 200 B (times `{SAME_WORK}`, which has 101), and with two workers. A worker's VM starts in the CPU \
         time that its thread took until its first answer:\n\n\
         | keys | workers | CPU us | start of Envoy | start of a worker | memory of a VM |\n|---|---|---|---|---|---|\n"
    );
    let all = [
        (10, 1, false),
        (101, 1, false),
        (10_000, 1, false),
        (100_000, 1, false),
        (100_000, 1, true),
        (101, 2, false),
    ];
    let few = if quick { 2 } else { all.len() };
    for (keys, workers, crowd) in all.into_iter().take(few) {
        let policy = if crowd { crowded(keys) } else { policy(keys) };
        let contenders = [Contender::Peer(SAME_WORK), Contender::Ours(OURS, policy)];
        let bench = Bench::start(programs, workers, &contenders, false);
        let worker = bench.first_answer(OURS);
        let cost = bench.measure(&[SAME_WORK, OURS], SAME_WORK, 200, Stream::None, rounds)[1];
        let of = if crowd {
            " of 10,000 consumers in 1,000 groups"
        } else {
            ""
        };
        let _ = writeln!(
            table,
            "| {keys}{of} | {workers} | {:.0} ({:.2}) | {} ms | {:.0} ms | {:.1} MB |",
            cost.cpu,
            cost.ratio,
            bench.started_in.as_millis(),
            worker / 1e6,
            bench.memory() as f64 / 1e6,
        );
    }
    table + "\n"
}

/// Whether a VM grows with the requests that it has seen.
fn memory(programs: &Programs, _: Rounds, quick: bool) -> String {
    let bench = Bench::start(programs, 1, &[Contender::Ours(OURS, policy(101))], false);
    let first = bench.send(OURS, 1_000.0);
    let before = bench.memory();
    let rest = bench.send(OURS, if quick { 20_000.0 } else { 1_000_000.0 });
    let after = bench.memory();
    format!(
        "Memory of a worker's VM with 101 keys: {before} bytes after {first} requests, {after} bytes after {rest} more.\n"
    )
}

/// When this was, and with what.
fn head(programs: &Programs) -> String {
    let output = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    // "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
    let version = output(&programs.envoy, "--version");
    let version = version.rsplit("version: ").next().unwrap_or_default();
    let version = version.split('/').nth(1).unwrap_or("?");
    let date = output("date", "+%Y-%m-%d");
    let size = fs::metadata(&programs.wasm).unwrap().len();
    format!("{date}, Envoy {version}, `cohort.wasm` of {size} bytes.\n\n")
}

/// Puts the report between the marks of its page.
fn write_down(report: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the marks");
    let (_, after) = rest.split_once(END).expect("the page has the marks");
    fs::write(&path, format!("{before}{BEGIN}{report}{END}{after}")).unwrap();
}
