//! How large a body may be that Envoy holds for the filter.

use super::{Manager, Report, list, number};
use serde_json::Value;

/// Envoy's own.
pub(super) const DEFAULT: u64 = 1 << 20;

/// The limit, and where it was said; `None`: nowhere.
type Limit = (u64, Option<String>);

/// Those of a connection manager's listener and routes.
pub(super) fn of_manager(manager: &Manager<'_>, filter: &str, report: &mut Report<'_>) {
    let listener = match &manager.connection_limit {
        Some((path, limit)) => (*limit, Some(path.clone())),
        None => (DEFAULT, None),
    };
    match manager.value.get("route_config") {
        Some(routes) => {
            let path = format!("{}.route_config", manager.path);
            check(routes, &path, &listener, filter, report);
        }
        // The routes, which come from elsewhere, may say more.
        None if listener.1.is_some() && listener.0 < DEFAULT => {
            tell(&listener, &manager.path, report);
        }
        None => {}
    }
}

/// Those of routes that are delivered.
pub(super) fn of_routes((path, routes): &(String, &Value), report: &mut Report<'_>) {
    check(routes, path, &(DEFAULT, None), "cohort", report);
}

fn check(routes: &Value, path: &str, listener: &Limit, filter: &str, report: &mut Report<'_>) {
    let mut told = Vec::new();
    for (at, host) in list(routes, "virtual_hosts").iter().enumerate() {
        let host_path = format!("{path}.virtual_hosts[{at}]");
        let host_path = host_path.trim_start_matches('.');
        let host_limit = own(host, host_path, listener);
        for (at, route) in list(host, "routes").iter().enumerate() {
            let judged = route.get("route").is_some() && !is_off(route, filter);
            let limit = own(route, &format!("{host_path}.routes[{at}]"), &host_limit);
            let place = limit.1.as_deref().unwrap_or(host_path).to_owned();
            if judged && limit.0 <= DEFAULT && !told.contains(&place) {
                tell(&limit, host_path, report);
                told.push(place);
            }
        }
    }
}

/// What a virtual host or a route makes of the limit that holds without it.
fn own(scope: &Value, path: &str, outer: &Limit) -> Limit {
    let limit = |name| Some((number(scope, name)?, Some(format!("{path}.{name}"))));
    if let Some(own) = limit("request_body_buffer_limit") {
        return own;
    }
    // It can only lower what the connection has.
    let lower = limit("per_request_buffer_limit_bytes").filter(|(own, _)| *own < outer.0);
    lower.unwrap_or_else(|| outer.clone())
}

fn tell(limit: &Limit, otherwise: &str, report: &mut Report<'_>) {
    let (bytes, place) = limit;
    let whose = if place.is_some() {
        ""
    } else {
        " (Envoy's default)"
    };
    report.warn(
        place.as_deref().unwrap_or(otherwise),
        format!("prompts over {bytes} bytes are refused with 413{whose}"),
        "`request_body_buffer_limit: 33554432` on the virtual host: 32 MiB, the largest that providers take",
    );
}

/// Whether the filter leaves a route alone.
fn is_off(route: &Value, filter: &str) -> bool {
    let own = route.get("typed_per_filter_config");
    let own = own.and_then(|all| all.get(filter));
    own.is_some_and(|own| own.get("disabled") == Some(&Value::Bool(true)))
}
