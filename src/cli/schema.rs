//! `cohort schema`: the policy file's JSON Schema, for editors and other programs.

use super::{Failure, print};
use crate::config;
use crate::llm::endpoint;
use std::process::ExitCode;

/// Print a JSON Schema of the policy file, for editors and other programs
///
/// Editors that know the YAML language server take it from a first line in the file:
/// # yaml-language-server: $schema=policy.schema.json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let schema = config::schema(&endpoint::names());
        print(|out| {
            serde_json::to_writer_pretty(&mut *out, &schema)?;
            writeln!(out)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
