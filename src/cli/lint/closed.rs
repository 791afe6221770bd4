//! Doors that are there and closed: groups that have ended, callers that have nowhere to go.

use super::advice::Advised;
use super::never::advised;
use crate::config::{Config, ConsumerGroup};
use crate::time::Timestamp;

pub(super) fn warnings(config: &Config, now: Timestamp) -> Vec<Advised> {
    let mut found = Vec::new();
    let ended = |end: Option<Timestamp>| end.filter(|end| *end <= now);
    for (at, group) in config.consumer_groups.iter().enumerate() {
        if let Some(end) = ended(group.not_after).filter(|_| group.enabled) {
            found.push(advised(
                format!("consumer_groups[{at}].not_after"),
                format!("has ended at {end}: its requests are refused"),
                "say a later date, or take the group out",
            ));
        }
    }
    let is_closed = |group: &ConsumerGroup| !group.enabled || ended(group.not_after).is_some();
    let closed = config.consumer_groups.iter().filter(|it| is_closed(it));
    let closed: Vec<&str> = closed.map(|group| group.name.as_str()).collect();
    for (field, group) in [
        ("default_group", &config.default_group),
        ("anonymous_group", &config.anonymous_group),
    ] {
        if let Some(group) = group.as_deref().filter(|group| closed.contains(group)) {
            found.push(advised(
                field.to_owned(),
                format!("'{group}' is closed: whoever comes into it is refused"),
                "open the group, or name another",
            ));
        }
    }
    for (at, consumer) in config.consumers.iter().enumerate() {
        let path = format!("consumers[{at}]");
        let said = &consumer.groups;
        let over = said.iter().all(|member| {
            closed.contains(&member.group.as_str()) || ended(member.not_after).is_some()
        });
        let mut groups = config.consumer_groups.iter();
        let listed = groups.any(|group| {
            group.consumers.contains(&consumer.name) && !closed.contains(&group.name.as_str())
        });
        if !said.is_empty() && over && !listed && consumer.enabled {
            found.push(advised(
                format!("{path}.groups"),
                "all of its groups are closed, or its time in them is over: it is refused"
                    .to_owned(),
                "`cohort consumer move` puts it into another one",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use crate::config::Config;
    use crate::time::{Timestamp, UtcOffset};

    #[test]
    fn who_has_nowhere_to_go() {
        let now = Timestamp::parse_rfc3339("2026-12-01T00:00:00Z", UtcOffset(0)).unwrap();
        let said = |text: &str| {
            let text = format!(
                "version: '1'\nconsumer_groups:\n  - {{name: open, not_after: 2026-12-02}}\n  - {{name: off, enabled: false}}\n  - {{name: over, not_after: 2026-12-01, consumers: [zoe]}}\nconsumers:\n  - {{name: zoe, groups: [off]}}\n{text}"
            );
            let found = warnings(&Config::from_yaml(&text).unwrap(), now).into_iter();
            let paths = found.map(|found| found.path);
            paths.collect::<Vec<_>>()
        };
        let always = ["consumer_groups[2].not_after", "consumers[0].groups"];
        assert_eq!(said(""), always);
        for fine in [
            "  - {name: a, groups: [off, open]}",
            "  - {name: a, enabled: false, groups: [off]}",
            "  - {name: a, groups: [{name: open, not_after: 2026-12-02}]}",
            "  - {name: a}",
            "default_group: open",
        ] {
            assert_eq!(said(fine), always, "{fine}");
        }
        for (text, path) in [
            ("  - {name: a, groups: [over, off]}", "consumers[1].groups"),
            (
                "  - {name: a, groups: [{name: open, not_after: 2026-11-30}]}",
                "consumers[1].groups",
            ),
            ("default_group: off", "default_group"),
            ("anonymous_group: over", "anonymous_group"),
        ] {
            assert!(said(text).contains(&path.to_owned()), "{text}");
            assert_eq!(said(text).len(), 3, "{text}");
        }
    }
}
