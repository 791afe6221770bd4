//! Every scenario through the pure core, whole and byte by byte, with a clock that stands where the scenario says.

mod support;

use std::path::Path;
use support::core::Core;
use support::scenario::Scenario;

fn run(path: &Path) -> datatest_stable::Result<()> {
    let scenario = Scenario::load(path)?;
    let config = scenario.config()?;
    let mut wrong = Vec::new();
    for chunk in [usize::MAX, 1] {
        let mut core = Core::new(&config)?;
        core.chunk = chunk;
        core.routes.clone_from(&scenario.routes);
        for (number, step) in (1..).zip(&scenario.steps) {
            for time in 1..=step.times {
                let outcome = core.run(&step.request, &step.upstream, step.at);
                let differences = step.expect.differences(&outcome);
                let place = format!(
                    "step {} ({time} of {}), pieces of {chunk}",
                    number, step.times
                );
                wrong.extend(
                    differences
                        .into_iter()
                        .map(|difference| format!("{place}: {difference}")),
                );
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

datatest_stable::harness! {
    { test = run, root = "testdata/scenarios", pattern = r"\.yaml$" },
}
