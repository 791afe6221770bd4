//! What is printed, for people and for programs.

use super::ask::{Explained, SECRET};
use crate::spend::usd;
use serde_json::{Value, json};
use std::io::{self, Write};

pub(super) fn text(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    let event = &explained.event;
    let word = |field: &str| event.get(field).and_then(Value::as_str);
    writeln!(out, "{} {}", explained.method, explained.path)?;
    writeln!(out, "→ {}", verdict(explained))?;
    writeln!(out)?;
    for (name, field) in [
        ("Endpoint", "endpoint"),
        ("Consumer group", "consumer_group"),
        ("Consumer", "consumer"),
        ("Key", "key_id"),
        ("Model", "model"),
        ("Provider", "provider"),
    ] {
        if let Some(value) = word(field) {
            writeln!(out, "{name:<15} {value}")?;
        }
    }
    let rows = (explained.origins.iter()).map(|origin| {
        [
            origin.field.clone(),
            origin.value.clone(),
            origin.scope.clone(),
        ]
    });
    table("Rules", &rows.collect::<Vec<_>>(), out)?;
    let rows = explained.limits.iter().map(|limit| {
        let quota = if limit.is_budget {
            format!("{} USD", usd(limit.quota))
        } else {
            limit.quota.to_string()
        };
        [limit.name.clone(), quota, limit.of.clone()]
    });
    table(
        "Limits that apply, as if nothing were used",
        &rows.collect::<Vec<_>>(),
        out,
    )?;
    let policies = event.get("policies").and_then(Value::as_array);
    let rows = policies.into_iter().flatten().map(|policy| {
        let text = |field: &str| {
            policy
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let found = policy.get("entities").and_then(Value::as_array);
        let found = found.map_or_else(
            || "could not look".to_owned(),
            |kinds| {
                let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                format!("found {}", kinds.join(", "))
            },
        );
        let action = [text("action"), text("mode")].join(" ");
        [text("name").to_owned(), action.trim().to_owned(), found]
    });
    table("Policies", &rows.collect::<Vec<_>>(), out)?;
    if explained.reply.is_some() || explained.asks {
        return Ok(());
    }
    let rows = explained.fields.iter().map(|(name, value)| {
        let value = value.as_deref().map_or("(taken out)", masked);
        [name.clone(), value.to_owned(), String::new()]
    });
    table(
        "Header, as the upstream sees it",
        &rows.collect::<Vec<_>>(),
        out,
    )?;
    if let Some(body) = &explained.body {
        writeln!(out, "\nBody, as the upstream sees it\n  {body}")?;
    }
    Ok(())
}

pub(super) fn json(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    let event = &explained.event;
    let reply = explained.reply.as_ref().map(|reply| {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        json!({"status": reply.status, "code": reply.details, "body": body})
    });
    let rules: Vec<_> = (explained.origins.iter())
        .map(|origin| json!({"field": origin.field, "value": origin.value, "scope": origin.scope}))
        .collect();
    let limits: Vec<_> = (explained.limits.iter())
        .map(|limit| json!({"limit": limit.name, "quota": limit.quota, "of": limit.of}))
        .collect();
    let fields: serde_json::Map<String, Value> = (explained.fields.iter())
        .map(|(name, value)| (name.clone(), value.as_deref().map(masked).into()))
        .collect();
    let passes = explained.reply.is_none() && !explained.asks;
    let shown = json!({
        "method": explained.method,
        "path": explained.path,
        "verdict": verdict(explained),
        "endpoint": event["endpoint"],
        "consumer_group": event["consumer_group"],
        "consumer": event["consumer"],
        "key_id": event["key_id"],
        "model": event["model"],
        "provider": event["provider"],
        "reply": reply,
        "rules": rules,
        "limits": limits,
        "policies": event["policies"],
        "upstream_fields": passes.then_some(fields),
        "upstream_body": explained.body,
    });
    writeln!(out, "{shown:#}")
}

/// In a line.
fn verdict(explained: &Explained) -> String {
    if let Some(reply) = &explained.reply {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = ["/error/message", "/message"]
            .into_iter()
            .find_map(|place| body.pointer(place)?.as_str());
        let detail = explained.event.get("detail").and_then(Value::as_str);
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        return format!(
            "refused: {} {}{detail}: {}",
            reply.status,
            reply.details,
            message.unwrap_or_default()
        );
    }
    if explained.asks {
        return "would be asked about: a rate-limit service or a moderation endpoint decides"
            .to_owned();
    }
    // Nothing has answered, here; what is left of the reason is what shadow mode and flags say.
    match explained.event.get("reason").and_then(Value::as_str) {
        Some("no_response") | None => "let through".to_owned(),
        Some(reason) => format!("let through, flagged: {reason}"),
    }
}

fn masked(value: &str) -> &str {
    if value.contains(SECRET) {
        "(the provider's key)"
    } else {
        value
    }
}

fn table(title: &str, rows: &[[String; 3]], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (first_width, second_width) = (width(0), width(1).min(48));
    for [first, second, third] in rows {
        let line = format!("  {first:<first_width$}  {second:<second_width$}  {third}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
