//! Where a request goes, and with which credential.

use super::ModelPattern;
use crate::config::{Provider, ProviderTarget};
use crate::headers::HeaderEdits;
use crate::llm::endpoint::{Dialect, Endpoint};
use crate::llm::usage::UsageFormat;
use std::fmt;

/// A provider's account.
#[derive(Debug)]
pub struct Target {
    /// The value of `x-cohort-provider`.
    pub id: String,
    /// What is put in for the caller's credential, if anything.
    pub injection: Option<Injection>,
    pub(super) provider: Provider,
    /// The Envoy cluster.
    pub(super) cluster: String,
    models: Option<Vec<ModelPattern>>,
}

/// A provider's credential, in the header in which that provider wants it.
pub struct Injection {
    header: &'static str,
    value: Vec<u8>,
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Injection({}: …)", self.header)
    }
}

impl Injection {
    /// The field, for a request of our own.
    pub fn field(&self) -> (&'static str, &[u8]) {
        (self.header, &self.value)
    }

    /// Puts the credential into a request.
    pub fn apply(&self, edits: &mut HeaderEdits) {
        edits.set(self.header, &self.value);
    }
}

impl Target {
    /// Resolves a target and fetches its secret.
    pub(super) fn compile(
        target: ProviderTarget,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let injection = match target.secret_env {
            None => None,
            Some(name) => {
                let secret = env(&name).filter(|secret| !secret.trim().is_empty()).ok_or_else(|| {
                    format!("the environment variable {name} is not set; pass it on in Envoy's vm_config.environment_variables")
                })?;
                if !crate::headers::is_safe_value(&secret) {
                    return Err(format!(
                        "the value of {name} cannot be sent in a header: it holds spaces around it or control characters"
                    ));
                }
                Some(injection(target.provider, &secret))
            }
        };
        Ok(Self {
            id: target.id,
            injection,
            provider: target.provider,
            cluster: target.cluster,
            models: target
                .models
                .map(|list| list.into_iter().map(ModelPattern::new).collect()),
        })
    }

    /// Whether `stream_options` may be put into a request. Mistral refuses fields that it does not know, and says the
    /// usage of its own accord.
    pub fn takes_stream_options(&self) -> bool {
        self.provider != Provider::Mistral
    }

    /// Whether chats are bounded by `max_completion_tokens` there, which took the place of `max_tokens`.
    pub const fn takes_max_completion_tokens(&self) -> bool {
        matches!(self.provider, Provider::AzureOpenAi | Provider::OpenAi)
    }

    /// Whether this is the API of its provider alone, or names these models itself: then it comes before those whose API
    /// only has the same shape. A request without a model is not the business of a list of models.
    pub(super) fn owns(&self, endpoint: &Endpoint, models: &[String]) -> bool {
        match self.models {
            Some(_) if !models.is_empty() => self.serves(endpoint, models),
            _ => native(self.provider, endpoint),
        }
    }

    /// Whether requests for these models go here.
    pub(super) fn serves(&self, endpoint: &Endpoint, models: &[String]) -> bool {
        match &self.models {
            Some(patterns) => models
                .iter()
                .all(|model| patterns.iter().any(|pattern| pattern.matches(model))),
            None => speaks(self.provider, endpoint),
        }
    }
}

/// The provider that alone has this path, where its shape is another's.
fn owner(endpoint: &Endpoint) -> Option<Provider> {
    let path = endpoint.path;
    if path.starts_with("/openai/") {
        Some(Provider::AzureOpenAi)
    } else if path.starts_with("/v1beta|v1alpha/openai/")
        || path.ends_with("/endpoints/openapi/chat/completions")
    {
        Some(Provider::Gemini)
    } else if path.starts_with("/api/") {
        Some(Provider::Ollama)
    } else {
        None
    }
}

/// Whether a provider has an endpoint at this very path.
fn native(provider: Provider, endpoint: &Endpoint) -> bool {
    match owner(endpoint) {
        Some(owner) => owner == provider,
        // It has OpenAI's shapes too, behind a prefix of its own.
        None if provider == Provider::Cohere => {
            let shared = ["/v1/models", "/v1/tokenize"];
            let at_home = shared.iter().any(|path| endpoint.path.starts_with(path));
            speaks(provider, endpoint) && (at_home || endpoint.usage == UsageFormat::Cohere)
        }
        None => speaks(provider, endpoint),
    }
}

/// Whether an endpoint belongs to the APIs that a provider offers.
fn speaks(provider: Provider, endpoint: &Endpoint) -> bool {
    match provider {
        // Its models are where OpenAI's are.
        Provider::Anthropic => {
            endpoint.dialect == Dialect::Anthropic || endpoint.path.starts_with("/v1/models")
        }
        Provider::AzureOpenAi | Provider::Mistral | Provider::OpenAi => {
            endpoint.dialect == Dialect::OpenAi
                && !matches!(endpoint.usage, UsageFormat::Cohere | UsageFormat::Ollama)
        }
        Provider::Bedrock => endpoint.dialect == Dialect::Bedrock,
        Provider::Cohere => {
            endpoint.dialect == Dialect::OpenAi && endpoint.usage != UsageFormat::Ollama
        }
        // Its compatible paths, and Vertex's, have the shapes of OpenAI's.
        Provider::Gemini => {
            endpoint.dialect == Dialect::Gemini || owner(endpoint) == Some(Provider::Gemini)
        }
        Provider::Ollama => {
            endpoint.dialect == Dialect::OpenAi && endpoint.usage != UsageFormat::Cohere
        }
        Provider::Vllm => matches!(endpoint.dialect, Dialect::Anthropic | Dialect::OpenAi),
    }
}

/// The header in which each provider's own SDK sends the key.
fn injection(provider: Provider, secret: &str) -> Injection {
    let (header, prefix) = match provider {
        Provider::Anthropic => ("x-api-key", ""),
        Provider::AzureOpenAi => ("api-key", ""),
        Provider::Gemini => ("x-goog-api-key", ""),
        _ => ("authorization", "Bearer "),
    };
    Injection {
        header,
        value: format!("{prefix}{secret}").into_bytes(),
    }
}
