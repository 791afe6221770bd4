//! A Wasm plugin's own settings: what happens when it dies, and whether headers wait.

use super::{Report, body, text};
use crate::limit::readout;
use serde_json::Value;

/// A Wasm filter's configuration.
pub(super) struct Plugin<'a> {
    /// Where its `config` is.
    pub(super) path: String,
    config: &'a Value,
}

impl<'a> Plugin<'a> {
    /// That of a `Wasm` message.
    pub(super) fn of(typed: &'a Value, path: &str) -> Option<Self> {
        let config = body(typed).get("config")?;
        let inner = if std::ptr::eq(body(typed), typed) {
            "config"
        } else {
            "value.config"
        };
        Some(Self {
            path: format!("{path}.{inner}"),
            config,
        })
    }

    /// Whether it is the filter, and not another one, or the one that only shows counters.
    pub(super) fn is_ours(&self) -> bool {
        if let Some(Value::String(json)) = self.configuration()
            && json.as_bytes() == readout::CONFIGURATION
        {
            return false;
        }
        let vm = self.config.get("vm_config").unwrap_or(&Value::Null);
        let code = vm.pointer("/code/local/filename");
        let names = [
            text(self.config, "name"),
            text(vm, "vm_id"),
            code.and_then(Value::as_str).unwrap_or_default(),
        ];
        names.iter().any(|name| name.contains("cohort")) || self.policy().is_some()
    }

    /// What it is configured with: a `Struct`'s fields, or a text.
    fn configuration(&self) -> Option<&'a Value> {
        self.config.get("configuration")?.get("value")
    }

    /// The policy that it runs, if that stands here.
    fn policy(&self) -> Option<Value> {
        let policy = match self.configuration()? {
            Value::String(json) => serde_json::from_str(json).ok()?,
            value => value.clone(),
        };
        let ours = policy.get("version").is_some() && policy.get("consumer_groups").is_some();
        ours.then_some(policy)
    }

    /// `holds`: what the policy says where it does not stand here.
    pub(super) fn check(&self, holds: bool, report: &mut Report<'_>) {
        self.check_failure_policy(report);
        let own = self.policy();
        if let (Some(policy), Some(Value::Object(_))) = (&own, self.configuration()) {
            report.check_order(policy, &format!("{}.configuration.value", self.path));
        }
        let own = own.map(|policy| policy.get("hold_request_headers") != Some(&Value::Bool(false)));
        let holds = own.unwrap_or(holds);
        let name = "allow_on_headers_stop_iteration";
        let path = format!("{}.{name}", self.path);
        let flag = self.config.get(name);
        // Wrapped or not, as protobuf's JSON has it.
        let flag = flag.map(|flag| flag.get("value").unwrap_or(flag));
        match (holds, flag == Some(&Value::Bool(true))) {
            (true, false) => report.error(
                &path,
                "is not true, and the policy's `hold_request_headers` is: every request with a body hangs",
                format!("write `{name}: true`; where that cannot be, `hold_request_headers: false` in the policy"),
            ),
            (false, true) => report.warn(
                &path,
                "is true, and the policy's `hold_request_headers` is not: the headers of refused requests may reach the upstream",
                "take `hold_request_headers: false` out of the policy",
            ),
            _ => {}
        }
    }

    fn check_failure_policy(&self, report: &mut Report<'_>) {
        const HELP: &str = "write `failure_policy: FAIL_RELOAD`: its worker gets a new one";
        let path = |name: &str| format!("{}.{name}", self.path);
        if self.config.get("fail_open") == Some(&Value::Bool(true)) {
            report.error(
                &path("fail_open"),
                "should the filter die, its worker is a gateway without keys and limits",
                HELP,
            );
            return;
        }
        let policy = self.config.get("failure_policy");
        let word = policy.and_then(Value::as_str);
        match (word, policy.and_then(Value::as_u64)) {
            (Some("FAIL_RELOAD"), _) | (None, Some(1)) => {}
            (Some("FAIL_OPEN"), _) | (None, Some(3)) => report.error(
                &path("failure_policy"),
                "should the filter die, its worker is a gateway without keys and limits",
                HELP,
            ),
            _ => report.warn(
                &path("failure_policy"),
                "should the filter die, its worker answers 503 until Envoy is restarted",
                HELP,
            ),
        }
    }
}
