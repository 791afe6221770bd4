//! The command line: one module a command, each on the same code as the filter.
//!
//! Exit codes are a contract: 0 done, 1 the configuration is invalid, 2 it could not be done
//! (wrong usage, a file that cannot be read, an Envoy that does not start).

mod clock;
mod consumer;
mod demo;
mod diagnostics;
mod document;
mod edit;
mod events;
mod explain;
mod group;
mod key;
mod limits;
mod lint;
mod log;
mod order;
mod render;
mod report;
mod roster;
mod run;
mod schema;
mod simulate;

pub use diagnostics::render_errors;

use clap::{CommandFactory as _, Parser, Subcommand};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Consumer groups for LLM traffic, as an Envoy filter.
#[derive(Parser)]
#[command(name = "cohort", version, arg_required_else_help = true, after_help = START_HERE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const START_HERE: &str = "\
Start here:
  cohort demo                               a gateway to try, with nothing to set up
  cohort lint policy-config.yaml            is this policy right?
  cohort explain --group G --model M        what would become of a request, and why?
  cohort run --config policy-config.yaml    serve it
  cohort status                             what is used up, in the same folder
  cohort events tail --follow               what happens
  cohort report --by model                  what it came to

Exit codes: 0 done; 1 the policy, or the Envoy around it, is not right; 2 it could not be done";

#[derive(Subcommand)]
enum Command {
    /// Print what makes a shell complete this command
    ///
    /// bash: cohort completions bash > ~/.local/share/bash-completion/completions/cohort
    /// zsh:  cohort completions zsh > DIR/_cohort, with DIR in $fpath
    /// fish: cohort completions fish > ~/.config/fish/completions/cohort.fish
    #[command(verbatim_doc_comment)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// List, add, move and remove the consumers of a policy file
    #[command(subcommand)]
    Consumer(consumer::Command),
    Demo(demo::Demo),
    /// Look at the event log
    #[command(subcommand)]
    Events(events::Command),
    Explain(explain::Explain),
    /// List, add and remove the consumer groups of a policy file
    #[command(subcommand)]
    Group(group::Command),
    /// Make, hash and replace API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Check a configuration
    Lint(lint::Args),
    Reload(run::Reload),
    /// Print what Envoy, Istio, Envoy Gateway or a rate-limit service needs for a policy
    #[command(subcommand)]
    Render(render::Render),
    Report(report::Report),
    Run(run::Run),
    Schema(schema::Schema),
    Simulate(simulate::Simulate),
    Status(run::Status),
    #[command(subcommand, hide = true)]
    Config(run::Config),
    #[command(subcommand, hide = true)]
    Gateway(run::Gateway),
    /// The same as `lint`, spelled `policy lint --file FILE`
    #[command(subcommand, hide = true)]
    Policy(lint::Policy),
}

/// For whom a command prints: people, or a program.
#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

/// What may stop a command.
#[derive(Debug)]
struct Failure(String);

/// Where a policy comes from that is not there.
const NO_POLICY: &str = "say where the policy is, or begin with the one that the README shows";
/// Where an event log comes from that is not there.
const NO_EVENTS: &str =
    "`cohort run` and `cohort demo` write one in the folder where they are started";

/// What may be in a log all the same.
const NO_GROUP: &str = "; --all shows requests that no group was found for, too";

impl Failure {
    /// A file that cannot be read; `missing` says what to do if there is none.
    fn reading(path: &Path, error: &io::Error, missing: &str) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => Self(format!(
                "cannot read {path}: there is no such file; {missing}"
            )),
            _ => Self(format!("cannot read {path}: {error}")),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command line and gives the exit code.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Completions { shell } => completions(shell),
        Command::Consumer(command) => command.run(),
        Command::Demo(demo) => demo.run(),
        Command::Events(command) => command.run(),
        Command::Explain(explain) => explain.run(),
        Command::Group(command) => command.run(),
        Command::Key(command) => command.run(),
        Command::Lint(args) => args.run(),
        Command::Reload(reload) => reload.run(),
        Command::Render(target) => target.run(),
        Command::Report(report) => report.run(),
        Command::Run(run) => run.run(),
        Command::Schema(schema) => schema.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Status(status) => status.run(),
        Command::Config(command) => command.run(),
        Command::Gateway(command) => command.run(),
        Command::Policy(command) => command.run(),
    };
    done.unwrap_or_else(|Failure(message)| {
        let _ = writeln!(anstream::stderr(), "error: {message}"); // nowhere left to say it
        ExitCode::from(2)
    })
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cohort", &mut script);
    print(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Printed, Failure> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Printed::Whole),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::ReaderGone),
        Err(error) => Err(Failure(format!("cannot write: {error}"))),
    }
}

/// Writes to stderr.
fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}

/// Whether anyone still reads.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Printed {
    ReaderGone,
    Whole,
}
