//! The endpoint table in the docs is the one that the filter uses. `UPDATE=1` writes it anew.

use cohort::llm::endpoint::table_markdown;
use std::{env, fs};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/endpoints.md");

const HEADING: &str = "\
# Endpoints

What the filter knows of the APIs, row by row; `allowed_endpoints` takes the names of the first column, or path prefixes.
Every path may stand behind one of `path_prefixes`. In a path, `*` is one segment, `**` any number of them, `a|b` a choice,
`{model}` the segment that names the model; a model at `a[].b` is in each element of `a`.

- **closed**: 403 `endpoint_not_allowed` unless `allowed_endpoints` names it: its models are out of sight, or what it
  stores is shared by everyone behind the provider's account. So is every path that is not in the table.
- **not counted**: its answers cost no tokens. **filtered**: its answer lists only what the group may use.

";

#[test]
fn the_table_in_the_docs_is_that_of_the_code() -> Result<(), Box<dyn std::error::Error>> {
    let expected = format!("{HEADING}{}", table_markdown());
    if env::var_os("UPDATE").is_some() {
        fs::write(PATH, &expected)?;
    }
    assert_eq!(
        fs::read_to_string(PATH)?,
        expected,
        "run this test with UPDATE=1"
    );
    Ok(())
}
