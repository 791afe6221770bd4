//! Does an Envoy configuration fit the filter: what Envoy takes without a word, and what then hangs, leaks or lets through.
//!
//! Reads bootstraps, and what xDS delivers. What is only ever refused by Envoy itself is left to `envoy --mode validate`.

mod buffers;
mod chain;
mod headers;
mod manifests;
mod plugin;
mod replicas;

use super::super::{Failure, order};
use super::finding::{Finding, Level};
use super::replicas::Apart;
use crate::config::{Config, Places, json_from_yaml};
use plugin::Plugin;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// What of the policy matters here.
#[derive(Clone, Copy, Default)]
pub(super) struct Linted {
    /// `hold_request_headers`.
    pub(super) holds: bool,
    /// What each Envoy counts for itself, where there may be several.
    pub(super) apart: Apart,
}

/// What is wrong with these files together.
pub(super) fn check(files: &[PathBuf], policy: Linted) -> Result<Vec<Finding>, Failure> {
    let mut all = Together {
        policy,
        ..Together::default()
    };
    for file in files {
        let name = file.display().to_string();
        let text = fs::read_to_string(file)
            .map_err(|error| Failure(format!("cannot read {name}: {error}")))?;
        for document in manifests::documents(&text) {
            all.read(&name, &document);
        }
    }
    Ok(all.finish(files))
}

/// What several documents say of one Envoy.
#[derive(Default)]
struct Together {
    policy: Linted,
    findings: Vec<Finding>,
    /// Whether a connection manager with the filter was there.
    runs: bool,
    /// What cannot be read: nobody knows what is in it.
    unread: Vec<Finding>,
    /// That one gets the filter by xDS, which matters where the filter is nowhere.
    discovered: Option<Finding>,
    /// How many plugins of the filter were there.
    plugins: usize,
    /// Where a manifest puts the filter in, and what Envoy then buffers if nobody says more.
    manifest: Option<(String, String, Option<Places>)>,
    default_buffer: Option<u64>,
    /// Whether a manifest says how much, and what one says of a listener, which that then overrules.
    buffers: bool,
    listeners: Vec<Finding>,
    listened: bool,
    /// Several Envoys: the workload that it is said of, if that may be something else.
    replicas: Vec<(Option<String>, Finding)>,
    /// Workloads that are no Envoys.
    others: Vec<String>,
    /// What is taken out early, besides in connection managers that run the filter.
    mutations: Vec<Value>,
}

impl Together {
    fn read(&mut self, file: &str, text: &str) {
        let root = json_from_yaml(text).map(|json| serde_json::from_str(&json).unwrap_or_default());
        let root: Value = match root {
            Ok(root) => root,
            Err(error) => return self.unread.push(Finding::of(file, *error)),
        };
        let mut report = Report {
            file,
            findings: Vec::new(),
        };
        let found = Found::of(&root);
        for plugin in found.plugins.iter().filter(|plugin| plugin.is_ours()) {
            plugin.check(self.policy.holds, &mut report);
            self.plugins = self.plugins.saturating_add(1);
            if self::text(&root, "kind") == "EnvoyFilter" {
                let place = (file.to_owned(), plugin.path.clone(), Places::of_any(text));
                self.manifest = Some(place);
                self.default_buffer = Some(buffers::DEFAULT);
            }
        }
        for resource in manifests::Resource::all(&root) {
            resource.check(self.policy.holds, &mut report);
            self.plugins = self.plugins.saturating_add(1);
            let place = (file.to_owned(), resource.path.clone(), Places::of_any(text));
            self.manifest = Some(place);
            self.default_buffer = Some(resource.default_buffer());
        }
        self.buffers |= manifests::check_buffers(&root, &mut report);
        for manager in &found.managers {
            let Some(ours) = chain::ours(manager) else {
                let mutations = headers::mutations(manager.value).into_iter();
                self.mutations.extend(mutations.cloned());
                continue;
            };
            self.runs = true;
            if ours.discovered {
                let help = "name the file with the filter too: --envoy FILE".to_owned();
                let message = "the filter comes by `config_discovery`, and how it fails and whether headers wait is said there";
                let mut finding =
                    Finding::new(Level::Warning, file, &ours.path, message, Some(help));
                finding.locate(Places::of_any(text).as_ref());
                self.discovered = Some(finding);
            }
            chain::check(manager, &ours, &mut report);
            headers::check(manager, &mut report);
            buffers::of_manager(manager, &ours.name, &mut report);
        }
        self.mutations.extend(manifests::early_removals(&root));
        for routes in &found.routes {
            buffers::of_routes(routes, &mut report);
        }
        let places = Places::of_any(text);
        for finding in &mut report.findings {
            finding.locate(places.as_ref());
        }
        self.findings.append(&mut report.findings);
        if let Some((path, bytes)) = manifests::listener_buffer(&root) {
            self.listened = true;
            manifests::tell_listener(&path, bytes, &mut report);
            for mut finding in report.findings.drain(..) {
                finding.locate(places.as_ref());
                self.listeners.push(finding);
            }
        }
        for found in replicas::of(&root) {
            let finding = self.policy.apart.finding(file, &found.path, found.count);
            self.replicas.extend(finding.map(|mut finding| {
                finding.locate(places.as_ref());
                (found.of, finding)
            }));
        }
        self.others.extend(replicas::other(&root));
    }

    /// What only all of them together tell.
    fn finish(mut self, files: &[PathBuf]) -> Vec<Finding> {
        if let Some((file, path, places)) = self.manifest.as_ref().filter(|_| !self.runs) {
            let mut report = Report {
                file,
                findings: Vec::new(),
            };
            let mutations: Vec<_> = self.mutations.iter().collect();
            headers::judge(path, &mutations, &mut report);
            if let Some(default) = self
                .default_buffer
                .filter(|_| !self.buffers && !self.listened)
            {
                manifests::tell_default(default, path, &mut report);
            }
            for finding in &mut report.findings {
                finding.locate(places.as_ref());
            }
            self.findings.append(&mut report.findings);
        }
        if !self.buffers {
            self.findings.append(&mut self.listeners);
        }
        let (others, replicas) = (self.others, self.replicas.into_iter());
        let envoys = replicas.filter(|(of, _)| of.as_ref().is_none_or(|of| !others.contains(of)));
        self.findings.extend(envoys.map(|(_, finding)| finding));
        let discovered = self.discovered.take();
        self.findings
            .extend(discovered.filter(|_| self.plugins == 0));
        if let Some(first) = files
            .first()
            .filter(|_| !self.runs && self.plugins == 0 && self.unread.is_empty())
        {
            let name = first.display().to_string();
            let message = format!("{name}: nothing here runs the filter");
            let help = "an HTTP connection manager with a Wasm filter that is called `cohort`; envoy/demo.yaml has one";
            let finding = Finding::new(Level::Error, &name, "", message, Some(help.to_owned()));
            self.findings.push(finding);
        }
        self.findings.append(&mut self.unread);
        self.findings
    }
}

/// What is wrong with one file.
struct Report<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Report<'_> {
    /// Something that hangs, leaks or lets through.
    fn error(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Level::Error, path, message.into(), help.into());
    }

    /// Something that is not what its author may expect.
    fn warn(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Level::Warning, path, message.into(), help.into());
    }

    /// Prices in a policy that is handed over as a map, whose names are sorted then, at the latest.
    fn check_order(&mut self, policy: &Value, path: &str) {
        let Ok(config) = Config::from_json(policy.to_string().as_bytes()) else {
            return;
        };
        for pair in order::shadowed(&config) {
            self.warn(
                &format!("{path}.{}", pair.path),
                format!(
                    "a map has no order: `{}` comes before `{}` and takes its models",
                    pair.first, pair.later
                ),
                order::KEEP,
            );
        }
    }

    fn add(&mut self, level: Level, path: &str, message: String, help: String) {
        let finding = Finding::new(level, self.file, path, message, Some(help));
        self.findings.push(finding);
    }
}

/// An HTTP connection manager, and what of its listener concerns it.
struct Manager<'a> {
    path: String,
    value: &'a Value,
    /// `per_connection_buffer_limit_bytes`, and where it stands.
    connection_limit: Option<(String, u64)>,
}

/// What matters here, wherever in a document it is.
#[derive(Default)]
struct Found<'a> {
    managers: Vec<Manager<'a>>,
    plugins: Vec<Plugin<'a>>,
    /// Route configurations of their own.
    routes: Vec<(String, &'a Value)>,
}

impl<'a> Found<'a> {
    fn of(root: &'a Value) -> Self {
        let mut found = Self::default();
        found.walk(root, "", None);
        found
    }

    fn walk(&mut self, value: &'a Value, path: &str, limit: Option<&(String, u64)>) {
        if let Value::Array(items) = value {
            for (at, item) in items.iter().enumerate() {
                self.walk(item, &format!("{path}[{at}]"), limit);
            }
        }
        let Value::Object(members) = value else {
            return;
        };
        let own = number(value, "per_connection_buffer_limit_bytes");
        let own = own.map(|own| (join(path, "per_connection_buffer_limit_bytes"), own));
        let limit = own.as_ref().or(limit);
        match kind(value) {
            HCM => self.managers.push(Manager {
                path: path.to_owned(),
                value,
                connection_limit: limit.cloned(),
            }),
            WASM => self.plugins.extend(Plugin::of(value, path)),
            ROUTES => self.routes.push((path.to_owned(), value)),
            _ => {}
        }
        for (name, member) in members {
            self.walk(member, &join(path, name), limit);
        }
    }
}

const HCM: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";

/// The message that a typed configuration is.
fn kind(value: &Value) -> &str {
    let of = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let url = of("@type");
    let url = if url.ends_with("TypedStruct") {
        of("type_url")
    } else {
        url
    };
    url.rsplit('/').next().unwrap_or_default()
}

/// A typed configuration's own fields.
fn body(value: &Value) -> &Value {
    let typed_struct = value
        .get("@type")
        .and_then(Value::as_str)
        .is_some_and(|url| url.ends_with("TypedStruct"));
    value.get("value").filter(|_| typed_struct).unwrap_or(value)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// A number, which protobuf's JSON may also write as text.
fn number(value: &Value, name: &str) -> Option<u64> {
    let value = value.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests;
