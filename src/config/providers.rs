//! `providers`: where requests go, and with whose key.

use super::decode::{Decoder, Fields};
use super::document::cluster;
use super::node::Node;

/// `providers.targets[]`.
#[derive(Clone, Debug)]
pub struct ProviderTarget {
    /// Name of the target; also the value of `x-cohort-provider`.
    pub id: String,
    /// Which API it speaks.
    pub provider: Provider,
    /// The environment variable that holds its secret, if one is to be put in.
    pub secret_env: Option<String>,
    /// Model globs it serves; `None`: every model of its own dialect.
    pub models: Option<Vec<String>>,
    /// The Envoy cluster; default `id`.
    pub cluster: String,
}

/// `providers.targets[].provider`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    /// `anthropic`
    Anthropic,
    /// `azure-openai`
    AzureOpenAi,
    /// `bedrock`
    Bedrock,
    /// `cohere`
    Cohere,
    /// `gemini`
    Gemini,
    /// `mistral`
    Mistral,
    /// `ollama`
    Ollama,
    /// `openai`
    OpenAi,
    /// `vllm`
    Vllm,
}

pub(super) const PROVIDERS: Fields = Fields {
    known: &["targets"],
    ..Fields::NONE
};

pub(super) const TARGET: Fields = Fields {
    known: &["id", "provider", "secret_key_ref", "models", "cluster"],
    ..Fields::NONE
};

pub(super) const SECRET_KEY_REF: Fields = Fields {
    known: &["env"],
    secret: true,
    ..Fields::NONE
};

pub(super) const PROVIDER_NAMES: [(&str, Provider); 9] = [
    ("openai", Provider::OpenAi),
    ("anthropic", Provider::Anthropic),
    ("gemini", Provider::Gemini),
    ("azure-openai", Provider::AzureOpenAi),
    ("bedrock", Provider::Bedrock),
    ("cohere", Provider::Cohere),
    ("mistral", Provider::Mistral),
    ("ollama", Provider::Ollama),
    ("vllm", Provider::Vllm),
];

pub(super) fn providers(d: &mut Decoder, node: &Node) -> Option<Vec<ProviderTarget>> {
    let map = d.map(node, &PROVIDERS)?;
    let mut ids: Vec<String> = Vec::new();
    d.required(&map, "targets", |d, node| {
        d.list(node, |d, item| target(d, item, &mut ids))
    })
}

fn target(d: &mut Decoder, node: &Node, ids: &mut Vec<String>) -> Option<ProviderTarget> {
    let map = d.map(node, &TARGET)?;
    let id = d.required(&map, "id", |d, node| {
        let id = d.name(node)?;
        if ids.contains(&id) {
            d.error(node.span, "another target has this id");
        }
        ids.push(id.clone());
        Some(id)
    });
    let provider = d.required(&map, "provider", |d, node| d.choice(node, &PROVIDER_NAMES));
    let secret_env = d.field(&map, "secret_key_ref", secret_env);
    let models = d.field(&map, "models", |d, node| {
        d.texts(node, &mut Decoder::model_glob)
    });
    let cluster = d.field(&map, "cluster", cluster);
    let id = id?;
    Some(ProviderTarget {
        provider: provider?,
        secret_env,
        models,
        cluster: cluster.unwrap_or_else(|| id.clone()),
        id,
    })
}

fn secret_env(d: &mut Decoder, node: &Node) -> Option<String> {
    let map = d.map(node, &SECRET_KEY_REF)?;
    d.required(&map, "env", |d, node| {
        d.hide(node); // the secret itself may stand here by mistake
        let rule = |text: &str| {
            let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let digit = text.starts_with(|c: char| c.is_ascii_digit());
            (1..=128).contains(&text.len()) && text.bytes().all(name) && !digit
        };
        d.checked(node, rule, "the name of an environment variable")
    })
}
