//! The order of HTTP filters: what stands before the filter sees what callers sent, what stands behind it changes what was
//! judged.

use super::plugin::Plugin;
use super::{Manager, Report, WASM, body, kind, list, text};
use serde_json::Value;

/// The filter in its chain.
pub(super) struct Ours {
    /// Position among the filters.
    at: usize,
    pub(super) path: String,
    /// By which routes switch it off.
    pub(super) name: String,
    /// Whether it is delivered by xDS rather than written here.
    pub(super) discovered: bool,
}

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

pub(super) fn ours(manager: &Manager<'_>) -> Option<Ours> {
    let filters = list(manager.value, "http_filters");
    let found = filters.iter().position(|filter| {
        let plugin = filter.get("typed_config");
        let plugin = plugin.filter(|typed| kind(typed) == WASM);
        let written = plugin.and_then(|typed| Plugin::of(typed, ""));
        match written {
            Some(plugin) => plugin.is_ours(),
            None => discovered(filter) && text(filter, "name").contains("cohort"),
        }
    })?;
    let filter = filters.get(found)?;
    Some(Ours {
        at: found,
        path: format!("{}.http_filters[{found}]", manager.path),
        name: text(filter, "name").to_owned(),
        discovered: discovered(filter),
    })
}

fn discovered(filter: &Value) -> bool {
    filter.get("config_discovery").is_some()
}

/// What a filter is, whether its configuration is written here or delivered.
fn filter_kind(filter: &Value) -> &str {
    let delivered = filter.pointer("/config_discovery/type_urls/0");
    match (filter.get("typed_config"), delivered) {
        (Some(typed), _) => kind(typed),
        (None, Some(url)) => url
            .as_str()
            .and_then(|url| url.rsplit('/').next())
            .unwrap_or_default(),
        (None, None) => "",
    }
}

pub(super) fn check(manager: &Manager<'_>, ours: &Ours, report: &mut Report<'_>) {
    let filters = list(manager.value, "http_filters");
    let path = |at: usize| format!("{}.http_filters[{at}]", manager.path);
    if filters
        .get(ours.at)
        .and_then(|filter| filter.get("disabled"))
        == Some(&Value::Bool(true))
    {
        report.warn(
            &format!("{}.disabled", ours.path),
            "the filter is off but on routes that switch it on: what they forget is a way around it",
            "take `disabled` out, and switch it off route by route (`FilterConfig.disabled`)",
        );
    }
    let last = filters.len().saturating_sub(1);
    let router = filters
        .iter()
        .position(|filter| filter_kind(filter) == ROUTER);
    match router {
        None => report.error(
            &manager.path,
            "there is no router: no request reaches an upstream",
            "put `envoy.filters.http.router` last",
        ),
        Some(at) if at != last || at < ours.at => report.error(
            &path(at),
            "the router is not the last filter: what stands behind it never runs",
            "put it last",
        ),
        Some(_) => {}
    }
    for (at, filter) in filters.iter().enumerate() {
        let Some(wrong) = Wrong::of(filter, at < ours.at).filter(|_| at != ours.at) else {
            continue;
        };
        let name = match text(filter, "name") {
            "" => filter_kind(filter),
            name => name,
        };
        let message = format!("`{name}` {}", wrong.message);
        if wrong.lets_through {
            report.error(&path(at), message, wrong.help);
        } else {
            report.warn(&path(at), message, wrong.help);
        }
    }
}

/// Why a filter should stand elsewhere.
struct Wrong {
    message: &'static str,
    help: &'static str,
    lets_through: bool,
}

impl Wrong {
    const fn new(message: &'static str, help: &'static str) -> Self {
        Self {
            message,
            help,
            lets_through: false,
        }
    }

    fn of(filter: &Value, before: bool) -> Option<Self> {
        const BEHIND: &str = "put it behind the filter";
        const HELD: &str = "stands before the filter and needs the body: whole prompts are held for callers without a key, and its limit answers in its own words";
        let typed = filter.get("typed_config").map_or(&Value::Null, body);
        let name = filter_kind(filter);
        let short = name
            .strip_prefix("envoy.extensions.filters.http.")
            .and_then(|rest| rest.split('.').next());
        Some(match (short?, before) {
            ("buffer" | "file_system_buffer", true) => {
                Self::new(HELD, "take it out: the filter holds what it must")
            }
            ("ext_authz", true) if typed.get("with_request_body").is_some() => Self::new(
                HELD,
                "put it behind the filter, or take `with_request_body` out",
            ),
            ("ext_proc", true) if reads_body(typed) => Self::new(HELD, BEHIND),
            ("grpc_json_transcoder" | "grpc_json_reverse_transcoder" | "aws_lambda", true) => {
                Self::new(HELD, BEHIND)
            }
            ("lua" | "golang" | "wasm" | "dynamic_modules", true) => Self::new(
                "stands before the filter: it sees callers' keys, and holds whole prompts if it reads bodies",
                "put it behind the filter, unless it must see what callers sent",
            ),
            ("cache" | "cache_v2", true) => Self {
                message: "stands before the filter: it answers without asking whose key it is",
                help: BEHIND,
                lets_through: true,
            },
            ("credential_injector", true) => Self::new(
                "stands before the filter, which takes its credential for the caller's",
                BEHIND,
            ),
            ("aws_request_signing", true) => Self::new(
                "stands before the filter, which still changes what was signed",
                BEHIND,
            ),
            ("ext_proc", false) if reads_body(typed) => Self::new(
                "stands behind the filter and may rewrite bodies: what it makes of them is not judged",
                "let it read only, or rewrite in front of the filter",
            ),
            ("lua" | "golang" | "wasm" | "dynamic_modules", false) => Self::new(
                "stands behind the filter: if it rewrites bodies, what it makes of them is not judged",
                "rewrite in front of the filter",
            ),
            ("buffer" | "file_system_buffer", false) => Self::new(
                "holds bodies that the filter has held already, with a limit of its own",
                "take it out",
            ),
            _ => return None,
        })
    }
}

/// Whether an external processor gets the request's body.
fn reads_body(typed: &Value) -> bool {
    let mode = typed.pointer("/processing_mode/request_body_mode");
    mode.is_some_and(|mode| mode != "NONE" && mode.as_u64() != Some(0))
}
