//! Lays a module out by what its traffic executes: `layout MODULE LAID_OUT`.
//!
//! What a small request costs in Envoy is less the instructions than the places where they lie: its V8 compiles every
//! function in the order of the module, every block in the order of the function, and of a module of half a megabyte a
//! request executes a tenth. So requests of each kind are run in an interpreter that counts ([`count`]), and the module is
//! written again with its functions in the order in which they were first called, and with hints which way its branches go
//! ([`arrange`]); before that, with copies that it makes itself ([`copies`]). Nothing else of it changes.

mod arrange;
mod copies;
mod count;
mod service;
#[cfg(test)]
mod tests;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    dead_code,
    reason = "of the tests, which fail by panicking, and look at more"
)]
#[path = "../../../tests/support/vm/mod.rs"]
mod vm;

use std::process::ExitCode;
use std::{env, fs};
use vm::kinds::{configuration_with, kinds};

/// Where requests are counted: in shared data, as a rule.
const COUNTERS: [&str; 3] = [
    "",
    r#""counters":{"store":"rate_limit_service","cluster":"ratelimit"},"#,
    r#""counters":{"store":"rate_limit_service","cluster":"ratelimit","lease":{"requests":100,"max_age":"10s"}},"#,
];

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        #[expect(clippy::print_stderr, reason = "a command says what is wrong")]
        Err(error) => {
            eprintln!("layout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        return Err("usage: layout MODULE LAID_OUT".into());
    };
    let wasm = fs::read(from).map_err(|error| format!("{from}: {error}"))?;
    let wasm = copies::called(&wasm)?;
    let counting = count::counting(&wasm)?;
    let mut traffic = count::Traffic::default();
    for counters in COUNTERS {
        let configuration = configuration_with(counters);
        let mut vm = vm::Vm::start(&counting.module, &configuration, service::answer);
        // What only a start executes is not near what requests do.
        for name in counting.names() {
            vm.clear(&name);
        }
        for kind in kinds() {
            // The first of a kind defines its stats.
            for _ in 0..10 {
                kind.run(&mut vm);
            }
        }
        count::add(
            &mut traffic,
            counting.read(|name| vm.global(name).cast_unsigned()),
        );
    }
    Ok(fs::write(to, arrange::arrange(&wasm, &traffic)?)?)
}
