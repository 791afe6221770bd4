//! What holds for a request: the rules of the scopes that it falls under, put together.
//!
//! consumer > consumer group > route > service > defaults, field by field; the ceilings on top of all. What depends on
//! the group alone is put together when the configuration is loaded; what depends on more, when it is first asked for.

use super::Target;
use super::consumer::Consumer;
use super::counters::{Own, Scope};
use super::group::{Group, Level};
use crate::config::{ConfigError, ConsumerGroup, Mode, Rules, Scope as Entry, ScopeLimits, Spend};
use crate::guardrail::Search;
use std::cell::RefCell;
use std::rc::Rc;

/// Put together and kept, at most; more can only come of a configuration with very many scopes.
const MAX_KEPT: usize = 4_096;

/// Where a request came in, as Envoy sees it: positions in `routes` and `services`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    route: Option<usize>,
    service: Option<usize>,
}

/// A group, a consumer and a place.
type Case = (usize, Option<usize>, Place);

/// The rules of all scopes.
#[derive(Debug)]
pub(super) struct Inheritance {
    pub(super) mode: Mode,
    pub(super) groups: Vec<ConsumerGroup>,
    defaults: Rules,
    services: Vec<Entry>,
    routes: Vec<Entry>,
    ceilings: Rules,
    ceiling: Rc<Level>,
    /// What each group says itself, which holds below it too.
    levels: Vec<Rc<Level>>,
    /// Whom a `content_filter` may ask.
    targets: Vec<Rc<Target>>,
    /// Sorted.
    known: RefCell<Vec<(Case, Rc<Group>)>>,
}

impl Inheritance {
    pub(super) fn new(
        mode: Mode,
        groups: Vec<ConsumerGroup>,
        (defaults, ceilings): (Rules, Rules),
        (services, routes): (Vec<Entry>, Vec<Entry>),
        targets: Vec<Rc<Target>>,
    ) -> Self {
        Self {
            mode,
            ceiling: Rc::new(Level::ceilings(&ceilings)),
            levels: (groups.iter())
                .map(|entry| Rc::new(Level::compile(&entry.name, &entry.rules)))
                .collect(),
            groups,
            defaults,
            services,
            routes,
            ceilings,
            targets,
            known: RefCell::default(),
        }
    }

    /// Whether it matters where a request comes in.
    pub(super) const fn has_places(&self) -> bool {
        !self.services.is_empty() || !self.routes.is_empty()
    }

    /// By the names that Envoy has.
    pub(super) fn place(&self, route: &[u8], service: &[u8]) -> Place {
        let position = |entries: &[Entry], name: &[u8]| {
            let mut entries = entries.iter();
            entries.position(|entry| entry.name.as_bytes() == name)
        };
        Place {
            route: position(&self.routes, route),
            service: position(&self.services, service),
        }
    }

    /// Limits that hang on where a request comes in: a rate-limit service knows nothing of that.
    pub(super) fn placed_limits(&self) -> impl Iterator<Item = ConfigError> {
        let lists = [("services", &self.services), ("routes", &self.routes)];
        let entries = lists.into_iter().flat_map(|(list, entries)| {
            let named = entries.iter().enumerate();
            named.map(move |(at, entry)| (list, at, &entry.rules.limits))
        });
        let limited = entries.filter(|(.., limits)| **limits != ScopeLimits::default());
        limited.map(|(list, at, _)| {
            ConfigError::new(
                format!("{list}[{at}]"),
                "sets limits, which `counters.store: rate_limit_service` could not tell from those of other places",
            )
        })
    }

    /// Those of every scope but groups and consumers, and how errors call it.
    pub(super) fn shared_rules(&self) -> impl Iterator<Item = (String, &Rules)> {
        let of = |list: &'static str, entries| {
            let entries: std::slice::Iter<'_, Entry> = entries;
            let named = entries.enumerate();
            named.map(move |(at, entry)| (format!("{list}[{at}]"), &entry.rules))
        };
        [("defaults".to_owned(), &self.defaults)]
            .into_iter()
            .chain(of("services", self.services.iter()))
            .chain(of("routes", self.routes.iter()))
            .chain([("ceilings".to_owned(), &self.ceilings)])
    }

    /// The group as this consumer has it there.
    pub(super) fn resolve(
        &self,
        group: &Rc<Group>,
        consumer: Option<&Consumer>,
        place: Place,
        search: &Search,
    ) -> Rc<Group> {
        let consumer =
            consumer.and_then(|consumer| Some((consumer.index, consumer.rules.as_ref()?)));
        if consumer.is_none() && place == Place::default() {
            return Rc::clone(group);
        }
        let case = (group.index, consumer.map(|(index, _)| index), place);
        let mut known = self.known.borrow_mut();
        let at = match known.binary_search_by(|(known, _)| known.cmp(&case)) {
            Ok(at) => {
                return known
                    .get(at)
                    .map_or_else(|| Rc::clone(group), |(_, group)| Rc::clone(group));
            }
            Err(at) => at,
        };
        let own = consumer.map(|(_, rules)| rules);
        let Some(resolved) = self.compile(group.index, own, place, search) else {
            return Rc::clone(group);
        };
        let resolved = resolved.labelled(Rc::clone(&group.labels));
        if known.len() >= MAX_KEPT {
            known.clear();
            known.push((case, Rc::clone(&resolved)));
        } else {
            known.insert(at, (case, Rc::clone(&resolved)));
        }
        resolved
    }

    /// A group at a place, for a consumer with these rules.
    pub(super) fn compile(
        &self,
        index: usize,
        consumer: Option<&Rules>,
        place: Place,
        search: &Search,
    ) -> Option<Group> {
        let entry = self.groups.get(index)?;
        let shared = self.rules(entry, place);
        let own = match consumer {
            Some(consumer) => consumer.over(&shared),
            None => shared.clone(),
        };
        let above = Rules {
            default_model: self.ceilings.default_model.clone(),
            model_aliases: self.ceilings.model_aliases.clone(),
            spend: Spend {
                budgets: None,
                ..self.ceilings.spend.clone()
            },
            ..Rules::default()
        };
        let own = above.over(&own);
        let scope = Scope::compile(
            Some(entry.name.as_str().into()),
            &shared.limits,
            shared.spend.budgets.as_deref().unwrap_or_default(),
            consumer.map(Own::of),
        );
        let mut ancestors = Vec::new();
        let mut parent = entry.parent.as_deref();
        // Bounded: a configuration that was built in code may have a circle.
        while let Some(at) = parent.and_then(|name| self.position(name))
            && ancestors.len() < self.groups.len()
            && let Some(above) = self.groups.get(at)
        {
            ancestors.extend(self.levels.get(at).cloned());
            parent = above.parent.as_deref();
        }
        ancestors.push(Rc::clone(&self.ceiling));
        Some(Group::compile(
            (index, entry),
            self.mode,
            (&own, &self.ceilings),
            scope,
            ancestors,
            (search, &self.targets),
        ))
    }

    /// What a group's stats may name: the models of every scope that a request to it can fall under, but for its
    /// consumers' own.
    pub(super) fn labels(&self, entry: &ConsumerGroup) -> Rc<[String]> {
        let scopes = self.routes.iter().chain(&self.services);
        let own = [&entry.rules].into_iter();
        let rules = own
            .chain(scopes.map(|scope| &scope.rules))
            .chain([&self.defaults]);
        let mut labels: Vec<String> = Vec::new();
        for model in rules
            .filter_map(|rules| rules.allowed_models.as_ref())
            .flatten()
        {
            if !model.contains('*') && !labels.contains(model) {
                labels.push(model.clone());
            }
        }
        labels.into()
    }

    fn rules(&self, entry: &ConsumerGroup, place: Place) -> Rules {
        let route = place.route.and_then(|at| self.routes.get(at));
        let service = place.service.and_then(|at| self.services.get(at));
        let mut rules = self.defaults.clone();
        for scope in [service, route].into_iter().flatten() {
            rules = scope.rules.over(&rules);
        }
        entry.rules.over(&rules)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }
}
