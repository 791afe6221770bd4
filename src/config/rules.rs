//! What every scope can say: `defaults`, services, routes, consumer groups, consumers, and the ceilings.
//!
//! A more specific scope wins field by field, see [`Rules::over`].

use super::decode::{Decoder, Fields, Map};
use super::node::Node;
use super::{PolicyRule, ScopeLimits, Spend, limits, policies, spend};
use crate::limit::Limit;

/// What any scope can say. A scope that says nothing of a field leaves it to the next wider one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Exact names or globs; `None`: every model.
    pub allowed_models: Option<Vec<String>>,
    /// Exact names or globs; wins over `allowed_models`.
    pub denied_models: Option<Vec<String>>,
    /// Written into a body that names no model.
    pub default_model: Option<String>,
    /// `alias: target`, in file order.
    pub model_aliases: Option<Vec<(String, String)>>,
    /// Endpoint names or path prefixes; `None`: every endpoint that names its models.
    pub allowed_endpoints: Option<Vec<String>>,
    /// What may be used up.
    pub limits: ScopeLimits,
    /// What it costs, and how much may be spent.
    pub spend: Spend,
    /// What one request may ask for.
    pub request_limits: Option<RequestLimits>,
    /// `policies[]`: for prompts and answers.
    pub policies: Vec<PolicyRule>,
    /// `input_policies[]`: for prompts.
    pub input_policies: Vec<PolicyRule>,
    /// `output_policies[]`: for answers.
    pub output_policies: Vec<PolicyRule>,
}

/// An entry of `services` or `routes`.
#[derive(Clone, Debug)]
pub struct Scope {
    /// As Envoy names it.
    pub name: String,
    /// What it says.
    pub rules: Rules,
}

/// `request_limits`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Output tokens of one answer.
    pub max_output_tokens: Option<u64>,
    /// What becomes of a request for more.
    pub on_exceeded: ClampOrReject,
    /// Bytes of its body, inflated.
    pub max_body_bytes: Option<u64>,
    /// How many answers at once.
    pub max_n: Option<u64>,
    /// Whether the answer may come as a stream.
    pub stream: bool,
    /// Whether the model may be given tools.
    pub tools: bool,
}

/// `request_limits.on_exceeded`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClampOrReject {
    /// It goes on with the bound as its own.
    Clamp,
    /// It is refused.
    #[default]
    Reject,
}

/// The fields.
pub(super) const RULES: &[&str] = &[
    "allowed_models",
    "denied_models",
    "default_model",
    "model_aliases",
    "allowed_endpoints",
    "rate_limits",
    "consumer_rate_limits",
    "model_rate_limits",
    "pricing",
    "budgets",
    "unpriced",
    "request_limits",
    "policies",
    "input_policies",
    "output_policies",
];

pub(super) const SCOPE: Fields = Fields {
    known: &["name", "description"],
    common: RULES,
    inner: ("rate_limits", limits::NAMES),
    ..Fields::NONE
};

pub(super) const UNNAMED: Fields = Fields {
    known: &["description"],
    ..SCOPE
};

pub(super) const REQUEST_LIMITS: Fields = Fields {
    known: &[
        "max_output_tokens",
        "on_exceeded",
        "max_body_bytes",
        "max_n",
        "stream",
        "tools",
    ],
    ..Fields::NONE
};

pub(super) const ON_EXCEEDED: [(&str, ClampOrReject); 2] = [
    ("reject", ClampOrReject::Reject),
    ("clamp", ClampOrReject::Clamp),
];

pub(super) const ALLOWANCES: [(&str, bool); 2] = [("allow", true), ("deny", false)];

/// More than any API takes.
pub(super) const MAX_COUNT: u32 = 1_000_000_000;

/// Those of one scope, whatever else stands in its map.
pub(super) fn rules(d: &mut Decoder, map: &Map<'_>) -> Rules {
    let models = |d: &mut Decoder, node: &Node| d.texts(node, &mut Decoder::model_glob);
    let mut policies = |name| d.field(map, name, policies::policies).unwrap_or_default();
    let [both, input, output] =
        ["policies", "input_policies", "output_policies"].map(&mut policies);
    Rules {
        policies: both,
        input_policies: input,
        output_policies: output,
        allowed_models: d.field(map, "allowed_models", models),
        denied_models: d.field(map, "denied_models", models),
        default_model: d.field(map, "default_model", Decoder::model),
        model_aliases: d.field(map, "model_aliases", model_aliases),
        allowed_endpoints: d.field(map, "allowed_endpoints", |d, node| {
            d.texts(node, &mut endpoint)
        }),
        limits: limits::scope(d, map),
        spend: spend::spend(d, map),
        request_limits: d.field(map, "request_limits", request_limits),
    }
}

/// `defaults` and `ceilings`.
pub(super) fn unnamed(d: &mut Decoder, node: &Node) -> Option<Rules> {
    let map = d.map(node, &UNNAMED)?;
    d.field(&map, "description", |d, node| d.text(node).map(drop));
    Some(rules(d, &map))
}

/// `services` and `routes`, by the names that Envoy has for them.
pub(super) fn scopes(d: &mut Decoder, node: &Node) -> Option<Vec<Scope>> {
    let mut names: Vec<String> = Vec::new();
    d.list(node, |d, item| {
        let map = d.map(item, &SCOPE)?;
        let name = d.required(&map, "name", |d, node| {
            let rule = |text: &str| {
                (1..=256).contains(&text.len()) && !text.contains(|c: char| c.is_control())
            };
            let name = d.checked(node, rule, "a name of 1 to 256 bytes, as Envoy has it")?;
            if names.contains(&name) {
                d.error(node.span, "another entry of this list has this name");
            }
            names.push(name.clone());
            Some(name)
        });
        d.field(&map, "description", |d, node| d.text(node).map(drop));
        let rules = rules(d, &map);
        Some(Scope { name: name?, rules })
    })
}

fn request_limits(d: &mut Decoder, node: &Node) -> Option<RequestLimits> {
    let map = d.map(node, &REQUEST_LIMITS)?;
    let mut count = |name| d.field(&map, name, |d, node| d.number32(node, MAX_COUNT));
    let (max_output_tokens, max_n) = (count("max_output_tokens"), count("max_n"));
    let on_exceeded = d.field(&map, "on_exceeded", |d, node| d.choice(node, &ON_EXCEEDED));
    if let Some(node) = map
        .get("on_exceeded")
        .filter(|_| max_output_tokens.is_none())
    {
        d.within("on_exceeded", |d| {
            d.error(node.span, "is about `max_output_tokens`, which is missing");
        });
    }
    for (name, zero) in [("max_output_tokens", max_output_tokens), ("max_n", max_n)] {
        if let Some(node) = map.get(name).filter(|_| zero == Some(0)) {
            d.within(name, |d| d.error(node.span, "must be at least 1"));
        }
    }
    let allowance = |d: &mut Decoder, node: &Node| d.choice(node, &ALLOWANCES);
    Some(RequestLimits {
        max_output_tokens: max_output_tokens.map(u64::from),
        on_exceeded: on_exceeded.unwrap_or_default(),
        max_body_bytes: d
            .field(&map, "max_body_bytes", |d, node| d.number32(node, u32::MAX))
            .map(u64::from),
        max_n: max_n.map(u64::from),
        stream: d.field(&map, "stream", allowance).unwrap_or(true),
        tools: d.field(&map, "tools", allowance).unwrap_or(true),
    })
}

impl Rules {
    /// These, and where they say nothing, those `below`: limits by what they count, policies by their names, everything
    /// else field by field.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        /// The upper one, or else the lower one.
        fn or<T: Clone>(upper: Option<&T>, lower: Option<&T>) -> Option<T> {
            upper.or(lower).cloned()
        }
        Self {
            allowed_models: or(self.allowed_models.as_ref(), below.allowed_models.as_ref()),
            denied_models: or(self.denied_models.as_ref(), below.denied_models.as_ref()),
            default_model: or(self.default_model.as_ref(), below.default_model.as_ref()),
            model_aliases: or(self.model_aliases.as_ref(), below.model_aliases.as_ref()),
            allowed_endpoints: or(
                self.allowed_endpoints.as_ref(),
                below.allowed_endpoints.as_ref(),
            ),
            limits: ScopeLimits {
                rate_limits: merged(
                    &below.limits.rate_limits,
                    &self.limits.rate_limits,
                    Limit::same_count,
                ),
                consumer_rate_limits: merged(
                    &below.limits.consumer_rate_limits,
                    &self.limits.consumer_rate_limits,
                    Limit::same_count,
                ),
                model_rate_limits: or(
                    self.limits.model_rate_limits.as_ref(),
                    below.limits.model_rate_limits.as_ref(),
                ),
            },
            spend: Spend {
                pricing: or(self.spend.pricing.as_ref(), below.spend.pricing.as_ref()),
                budgets: or(self.spend.budgets.as_ref(), below.spend.budgets.as_ref()),
                unpriced: or(self.spend.unpriced.as_ref(), below.spend.unpriced.as_ref()),
            },
            request_limits: or(self.request_limits.as_ref(), below.request_limits.as_ref()),
            policies: merged(&below.policies, &self.policies, PolicyRule::same_name),
            input_policies: merged(
                &below.input_policies,
                &self.input_policies,
                PolicyRule::same_name,
            ),
            output_policies: merged(
                &below.output_policies,
                &self.output_policies,
                PolicyRule::same_name,
            ),
        }
    }
}

/// One list, in which an entry of the upper one stands in place of the same of the lower one.
pub(crate) fn merged<T: Clone>(lower: &[T], upper: &[T], same: fn(&T, &T) -> bool) -> Vec<T> {
    let mut merged = lower.to_vec();
    for entry in upper {
        match merged.iter_mut().find(|known| same(known, entry)) {
            Some(known) => *known = entry.clone(),
            None => merged.push(entry.clone()),
        }
    }
    merged
}

fn model_aliases(d: &mut Decoder, node: &Node) -> Option<Vec<(String, String)>> {
    let members = d.free_map(node)?;
    let aliases = members.iter().filter_map(|member| {
        d.within(&member.key, |d| {
            let target = d.model(&member.node)?;
            if member.key.is_empty() || member.key.contains('*') {
                d.error(member.key_span, "an alias is one model's name, without `*`");
            } else if member.key == target {
                d.error(member.node.span, "stands for itself");
            }
            Some((member.key.clone(), target))
        })
    });
    Some(aliases.collect())
}

fn endpoint(d: &mut Decoder, node: &Node) -> Option<String> {
    let rule = |text: &str| {
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let path = |byte: u8| byte.is_ascii_graphic() && !b"?#%".contains(&byte);
        (1..=256).contains(&text.len())
            && (text.bytes().all(name) || (text.starts_with('/') && text.bytes().all(path)))
    };
    d.checked(
        node,
        rule,
        "an endpoint's name, or a path prefix that begins with `/`",
    )
}
