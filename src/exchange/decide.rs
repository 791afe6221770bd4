//! The decision: may this request, whose models are known now, go on, where to, and as what?

use super::admit::fired;
use super::{Exchange, NewBody, Release, State, Step};
use crate::config::Mode;
use crate::guardrail::Redaction;
use crate::headers::{HeaderEdits, is_safe_value};
use crate::limit::counter::{Demand, Tokens};
use crate::limit::{SharedData, Unit, unlisted};
use crate::llm::endpoint::{Call, Endpoint};
use crate::llm::request::{Facts, Rewrite};
use crate::policy::{Group, Hit};
use crate::refusal::Refusal;
use crate::spend::Buckets;
use crate::time::Timestamp;
use std::rc::Rc;

impl Exchange {
    /// Lets a request go on, answers it, or asks what has to be known first.
    pub(super) fn decide(
        &mut self,
        facts: Box<Facts>,
        plain: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Step {
        let result = self.judge(facts, plain, now, shared);
        self.step(result, now)
    }

    pub(super) fn step(&mut self, result: Result<Step, Refusal>, now: Timestamp) -> Step {
        result.unwrap_or_else(|refusal| Step::Reply(self.refuse(&refusal, now)))
    }

    /// Everything else: the models, where it goes, what is in the prompt; then the limits.
    fn judge(
        &mut self,
        facts: Box<Facts>,
        plain: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Step, Refusal> {
        let in_headers = std::mem::take(&mut self.models);
        let (Some(identity), Some(call)) = (&mut self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        if !identity.others.is_empty() {
            // Where none does, the first says what it allows.
            identity.narrow(|group| allows(group, call, &facts.models, &in_headers));
        }
        let group = Rc::clone(&identity.group);
        let endpoint = call.endpoint;
        self.prompt_estimate = facts.prompt_tokens();
        self.asked.stream = facts.stream;
        self.asked.background = facts.background;
        let mut rewrite = Rewrite::new(facts);
        self.models = models(&group, call, &mut rewrite)?;
        self.models.extend(in_headers);
        if let Some(model) = self.models.iter().find(|model| !group.allows(model)) {
            let refusal = Refusal::ModelNotAllowed {
                model: model.clone(),
            };
            self.waive(refusal)?;
        }
        self.target = self.policy.target(endpoint, &self.models).cloned();
        let bytes = plain
            .as_ref()
            .map_or(self.body_bytes, |plain| plain.len() as u64);
        self.bound(&group, endpoint, bytes, &mut rewrite)?;
        let facts = rewrite.facts();
        self.asked.unbounded = match facts.max_output_tokens {
            Some(_) => 0,
            None => facts.answers(),
        };
        self.screen(&group, &mut rewrite)?;
        if self.target.is_none() && !self.policy.targets.is_empty() {
            return Err(Refusal::NoProvider);
        }
        if self.consult(&group, &mut rewrite)? {
            return Ok(self.await_moderators(rewrite, plain));
        }
        self.afford(rewrite, plain, now, shared)
    }

    /// What it may cost: budgets, and all that counts.
    pub(super) fn afford(
        &mut self,
        rewrite: Rewrite,
        plain: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Step, Refusal> {
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        let group = Rc::clone(&identity.group);
        let consumer = Rc::clone(identity.consumer_id());
        let named = (identity.consumer.as_ref()).is_none_or(|consumer| consumer.is_named());
        let endpoint = call.endpoint;
        if group.has_budgets()
            && endpoint.charged()
            && let Some(model) = self
                .models
                .iter()
                .find(|model| !group.pricing.covers(model))
        {
            let refusal = Refusal::ModelUnpriced {
                model: model.clone(),
            };
            self.waive(refusal)?;
        }
        self.counters = group.counters(&consumer, &self.models);
        if !named {
            self.share_counters(&group, &consumer, shared);
        }
        if let Some(refusal) = self.exceeds(rewrite.facts(), endpoint) {
            self.waive(refusal)?;
        }
        let demand = self.demand(rewrite.facts(), &group, endpoint, shared);
        match self.admit(demand, now, shared)? {
            Some(inquiry) => Ok(self.wait(inquiry, (rewrite, plain, demand), now)),
            None => self.release(rewrite, plain),
        }
    }

    /// Where a consumer that the file does not name cannot have counters of its own, those that it shares.
    #[inline(never)]
    fn share_counters(&mut self, group: &Group, consumer: &str, shared: &mut impl SharedData) {
        let mut counters = self.counters.iter();
        let own = counters.find(|counter| counter.descriptor.consumer.is_some());
        if let Some(own) = own
            && !unlisted::has_own(shared, &own.record, self.policy.max_unlisted)
        {
            let name = unlisted::shared_name(consumer);
            self.counters = group.counters(&name.into(), &self.models);
            if let Some(identity) = &mut self.identity {
                identity.shares_counters = true;
            }
        }
    }

    /// Sends an admitted request on, changed as it has to be.
    pub(super) fn release(
        &mut self,
        mut rewrite: Rewrite,
        plain: Option<Vec<u8>>,
    ) -> Result<Step, Refusal> {
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        let group = &identity.group;
        let endpoint = call.endpoint;
        let asks = self
            .target
            .as_ref()
            .is_none_or(|target| target.takes_stream_options());
        if asks && self.asked.stream && group.counts_tokens() && endpoint.streams_usage_on_request()
        {
            self.asked.usage = rewrite.facts().include_usage != Some(true);
            rewrite.include_usage();
        }
        let mut release = Release {
            edits: HeaderEdits::with_capacity(6),
            body: None,
        };
        if !self.introduced {
            self.introduce(group, self.policy.hold_request_headers, &mut release.edits);
        }
        if !rewrite.is_empty() && !self.introduced {
            release.edits.remove("content-length");
        }
        release.body = match plain {
            Some(plain) if rewrite.is_empty() => Some(NewBody::Whole(plain)),
            Some(plain) => Some(NewBody::Whole(
                rewrite.apply(&plain).ok_or(Refusal::Internal)?,
            )),
            None if rewrite.is_empty() => None,
            None => Some(NewBody::Rewritten(Box::new(rewrite))),
        };
        self.state = State::Passed;
        Ok(Step::Continue(release))
    }

    /// More output asked for than a limit has at all: the request would never pass, however long its caller waits.
    fn exceeds(&self, facts: &Facts, endpoint: &Endpoint) -> Option<Refusal> {
        let stated = stated_output(facts).filter(|_| endpoint.charged())?;
        let mut limits = (self.counters.iter())
            .flat_map(|counter| counter.limits.iter().map(|limit| (*limit, &**counter)));
        let (limit, counter) = limits.find(|(limit, _)| {
            matches!(limit.unit, Unit::CompletionTokens | Unit::Tokens) && stated > limit.quota
        })?;
        Some(Refusal::ExceedsLimit {
            fired: fired(limit, Some(counter)),
            stated,
        })
    }

    /// What a request is expected to cost.
    fn demand(
        &self,
        facts: &Facts,
        group: &Group,
        endpoint: &Endpoint,
        shared: &impl SharedData,
    ) -> Demand {
        if !endpoint.charged() || !group.counts_tokens() {
            return Demand::default();
        }
        let completion = stated_output(facts).unwrap_or_else(|| {
            let mut lengths = self.worker.lengths.borrow_mut();
            let model = model_label(group, &self.models);
            let expected = lengths.expected(group, model, endpoint, shared);
            expected.saturating_mul(facts.answers())
        });
        let prompt = facts.prompt_tokens();
        Demand {
            tokens: Tokens {
                prompt,
                completion,
                total: prompt.saturating_add(completion),
                cost: (group.pricing).cost(&self.models, Buckets::new(prompt, 0, 0, completion)),
            },
        }
    }

    /// What the group's policies make of what was found in the prompt.
    fn screen(&mut self, group: &Group, rewrite: &mut Rewrite) -> Result<(), Refusal> {
        if group.screening.is_empty() {
            return Ok(());
        }
        let hits = group.screening.judge(rewrite.facts().findings());
        if hits.is_empty() {
            return Ok(());
        }
        self.heed_findings(group, hits, rewrite)
    }

    #[inline(never)]
    fn heed_findings(
        &mut self,
        group: &Group,
        hits: Vec<Hit>,
        rewrite: &mut Rewrite,
    ) -> Result<(), Refusal> {
        let findings = rewrite.facts().findings();
        let kinds = group.screening.redacted();
        let mut uncut = false;
        if kinds.meets(findings) && !hits.iter().any(|hit| hit.refuses() && !hit.shadow) {
            let search = Rc::clone(&self.policy.search);
            uncut = !rewrite.redact(Redaction { search, kinds });
        }
        self.heed_policies(hits, uncut)
    }

    /// Does what policies say. `uncut`: what is to be taken out cannot be, and must not go on.
    #[inline(never)]
    pub(super) fn heed_policies(&mut self, hits: Vec<Hit>, uncut: bool) -> Result<(), Refusal> {
        let enforced = |hit: &&Hit| !hit.shadow;
        let mut refusing = hits.iter().filter(|hit| hit.refuses());
        let mut redacting = hits.iter().filter(|hit| hit.redacts());
        let mut refused = refusing.clone().find(enforced);
        if refused.is_none() && uncut {
            refused = redacting.clone().find(enforced);
        }
        let refused = refused.map(|hit| Refusal::ContentBlocked {
            policy: Rc::clone(&hit.policy),
            found: hit.found.clone(),
        });
        let noted = if refusing.next().is_some() {
            Some("content_blocked")
        } else if redacting.next().is_some() {
            Some("content_redacted")
        } else {
            (hits.iter().any(|hit| hit.found.is_some())).then_some("content_flagged")
        };
        self.noted.hits.extend(hits);
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        self.shadowed = self.shadowed.or(noted);
        Ok(())
    }

    /// In shadow mode a refusal is only noted.
    pub(super) fn waive(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if self.group().is_none_or(|group| group.mode == Mode::Enforce) {
            return Err(refusal);
        }
        self.shadowed = self.shadowed.or_else(|| Some(refusal.code()));
        Ok(())
    }

    /// The same where the header cannot be held until the body is judged: without the model, and with room for a body
    /// that may be rewritten.
    #[inline(never)]
    pub(super) fn introduce_early(&mut self, edits: &mut HeaderEdits) {
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return;
        };
        let group = &identity.group;
        self.target = self.policy.target(call.endpoint, &[]).cloned();
        let asks_usage = group.counts_tokens() && call.endpoint.streams_usage_on_request();
        let mut limits = group.request_limits.iter();
        let bounds = limits.any(|limits| limits.max_output_tokens.is_some());
        let redacts = !group.screening.redacted().is_empty();
        if asks_usage
            || bounds
            || redacts
            || group.models.default.is_some()
            || !group.models.aliases.is_empty()
        {
            edits.remove("content-length");
        }
        self.introduce(group, false, edits);
        self.introduced = true;
    }

    /// Says upstream who asks, for what, and with whose credential.
    fn introduce(&self, group: &Group, with_model: bool, edits: &mut HeaderEdits) {
        edits.set("x-consumer-group", group.name.as_str());
        if let Some(identity) = &self.identity {
            if let Some(consumer) = &identity.consumer {
                edits.set("x-consumer", &*consumer.name);
            }
            if identity.is_tagged() {
                let features: Vec<&str> = identity.features().collect();
                edits.set("x-cohort-features", features.join(","));
            }
        }
        if let Some(target) = &self.target {
            edits.set("x-cohort-provider", target.id.as_str());
            if let Some(injection) = &target.injection {
                injection.apply(edits);
            }
        }
        // A model's name is the caller's text: what cannot stand in a header is not sent.
        if with_model && let Some(model) = self.models.first().filter(|model| is_safe_value(model))
        {
            edits.set("x-cohort-model", model.as_str());
        }
    }
}

/// Whether a group may use all models that a request names, under the names that the group has for them.
fn allows(group: &Group, call: &Call, models: &[String], in_headers: &[String]) -> bool {
    let named = models.iter().map(|model| {
        let alias = group.models.alias(model);
        alias
            .filter(|_| !call.models.contains(model))
            .unwrap_or(model)
    });
    let default = group.models.default.as_ref();
    let default = default.filter(|_| models.is_empty() && call.endpoint.needs_model());
    let further = default.into_iter().chain(in_headers).map(String::as_str);
    let mut all = named.chain(further);
    all.all(|model| group.allows(model))
}

/// Every model that a request names, with aliases and the default put in.
fn models(group: &Group, call: &Call, rewrite: &mut Rewrite) -> Result<Vec<String>, Refusal> {
    let mut models = if group.models.aliases.is_empty() {
        rewrite.take_models()
    } else {
        renamed(group, call, rewrite)
    };
    if models.is_empty() && call.endpoint.needs_model() {
        let default = group
            .models
            .default
            .as_ref()
            .filter(|model| rewrite.insert_model(model));
        models.push(default.ok_or(Refusal::ModelMissing)?.clone());
    }
    Ok(models)
}

/// The models that a request names, with aliases put in, here and in its body.
fn renamed(group: &Group, call: &Call, rewrite: &mut Rewrite) -> Vec<String> {
    let mut models = rewrite.facts().models.clone();
    for model in &mut models {
        // A path's model is not aliased: it cannot be rewritten without choosing another endpoint.
        let alias = group
            .models
            .alias(model)
            .filter(|_| !call.models.contains(model));
        if let Some(target) = alias.filter(|target| rewrite.rename(model, target)) {
            target.clone_into(model);
        }
    }
    models
}

/// The model as stats may name it, as a number: 0 unless the configuration names it.
pub(super) fn model_label(group: &Group, models: &[String]) -> usize {
    (models.first()).map_or(0, |model| group.label_index(model))
}

/// The output that a request asks for, of all answers together.
fn stated_output(facts: &Facts) -> Option<u64> {
    let tokens = facts.max_output_tokens?;
    Some(tokens.saturating_mul(facts.answers()))
}
