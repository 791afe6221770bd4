//! The `cohort` command.

fn main() -> std::process::ExitCode {
    cohort::cli::run()
}
