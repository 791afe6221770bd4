//! An Envoy that is started by itself: one file, or two if the policy is to change without a restart.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use super::super::yaml;
use super::{
    BROKEN, Filter, HCM, Listen, Upstream, addresses, clusters, discovered, extension, listening,
    routes, secrets, wasm, watched,
};
use crate::config::Config;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::Path;

/// What an Envoy needs to know but a policy.
pub(crate) struct Standalone<'a> {
    pub(crate) listen: Listen,
    pub(crate) upstreams: &'a [Upstream],
    /// Certificate authorities, where Envoy runs.
    pub(crate) ca: &'a Path,
    /// The folder of both access logs.
    pub(crate) logs: &'a Path,
    /// Where the filter's part is, if it is in a file of its own.
    pub(crate) filter_file: Option<&'a Path>,
}

impl Standalone<'_> {
    /// The bootstrap. The error says what is missing on the command line.
    pub(crate) fn render(
        &self,
        filter: &Filter<'_>,
        config: &Config,
        document: &str,
    ) -> Result<String, String> {
        let addresses = addresses(config, self.upstreams, None)?;
        let clusters = clusters(&addresses, Some(self.ca));
        let root = self.bootstrap(filter, config, document, clusters.unwrap_or_default());
        let root = root.ok_or(BROKEN)?;
        let logs = self.logs.display();
        let mut header =
            String::from("Envoy with Cohort, by `cohort render envoy`. Envoy 1.37 or later.\n");
        // Writing into a `String` cannot fail.
        let _ = match self.filter_file {
            Some(file) => writeln!(
                header,
                "The policy is in {0}: `cohort render ecds --output {0}` writes it, also while this runs.",
                file.display(),
            ),
            None => writeln!(
                header,
                "The policy is part of this file: keys are digests of them."
            ),
        };
        let mut variables = String::new();
        for name in secrets(config) {
            let _ = write!(variables, "{name}=... ");
        }
        let _ = writeln!(
            header,
            "Start: mkdir -p {logs} && {variables}envoy -c THIS-FILE"
        );
        Ok(yaml::comment(&header) + &yaml::document(&root))
    }

    fn bootstrap(
        &self,
        filter: &Filter<'_>,
        config: &Config,
        document: &str,
        clusters: Vec<Value>,
    ) -> Option<Value> {
        let mut root = listening(&self.listen)?;
        let hcm = root.pointer_mut(HCM)?;
        for (log, name) in ["events.jsonl", "access.log"].iter().enumerate() {
            let path = hcm.pointer_mut(&format!("/access_log/{log}/typed_config/path"))?;
            *path = json!(self.logs.join(name));
        }
        *hcm.get_mut("route_config")? = routes(config)?;
        let first = hcm.pointer_mut("/http_filters/0")?;
        if let Some(file) = self.filter_file {
            let parent = file.parent().filter(|path| !path.as_os_str().is_empty());
            let directory = parent.unwrap_or_else(|| Path::new("."));
            let source = watched(&file.to_string_lossy(), &directory.to_string_lossy());
            *first = discovered(&source);
            // Who asks for resources must have a name.
            root["node"] = json!({"cluster": "cohort", "id": "cohort"});
        } else {
            *first = extension(&wasm(filter, config, document)?);
        }
        *root.pointer_mut("/static_resources/clusters")? = clusters.into();
        Some(root)
    }
}

/// The filter's part, in a file of its own: what discovery would answer.
pub(crate) fn discovery(filter: &Filter<'_>, config: &Config, document: &str) -> Option<String> {
    let mut resource = extension(&wasm(filter, config, document)?);
    resource["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
    // Tells one policy from another, and is the same for the same.
    let digest = Sha256::digest(document.as_bytes());
    let mut version = String::new();
    for byte in digest.iter().take(6) {
        let _ = write!(version, "{byte:02x}"); // a `String` takes everything
    }
    let response = json!({"version_info": version, "resources": [resource]});
    let header = "\
Cohort's policy for an Envoy that follows this file, by `cohort render ecds`: keys are digests of them.
Move it into its place in one step, as --output does. The bootstrap that goes with it is what
`cohort render envoy --filter-file PATH` prints; in one of your own the HTTP filter is:

- name: cohort
  config_discovery:
    type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]
    config_source:
      resource_api_version: V3
      path_config_source: { path: PATH, watched_directory: { path: THE-FOLDER-OF-PATH } }
";
    Some(yaml::comment(header) + &yaml::document(&response))
}
