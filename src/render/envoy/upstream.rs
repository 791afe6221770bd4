//! Where providers are: their public addresses, those that the command line gives, and Envoy clusters for them.
//!
//! Knows addresses, not requests.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use crate::config::{Config, PolicyKind, Provider};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

/// An address, and how it is spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    host: String,
    port: u16,
    tls: bool,
    /// HTTP/2 without TLS, as gRPC services speak it.
    http2: bool,
}

/// `NAME=URL` of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) cluster: String,
    address: Address,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cluster, url) = text
            .split_once('=')
            .ok_or("NAME=URL, as in vllm=http://10.0.0.7:8000")?;
        if cluster.is_empty() {
            return Err("the name is missing: NAME=URL".to_owned());
        }
        Ok(Self {
            cluster: cluster.to_owned(),
            address: url.parse()?,
        })
    }
}

impl FromStr for Address {
    type Err = String;

    /// `http://host:port`, `https://host`, `grpc://host:port`, `host:port`.
    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (tls, http2, default) = match scheme {
            "http" => (false, false, Some(80)),
            "https" => (true, false, Some(443)),
            "grpc" => (false, true, None),
            _ => return Err(format!("unknown scheme '{scheme}': http, https or grpc")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err("only a host and a port: paths come from the caller".to_owned());
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().map_err(|_| format!("'{port}' is no port"))?;
                (host, Some(port))
            }
            _ => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the host is missing".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.or(default).ok_or("the port is missing")?,
            tls,
            http2,
        })
    }
}

impl Address {
    pub(crate) fn local(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            tls: false,
            http2: false,
        }
    }

    /// Where a provider is for everyone; what each has an address of its own for, the error says how to give it.
    fn public(provider: Provider) -> Result<Self, &'static str> {
        let url = match provider {
            Provider::Anthropic => "https://api.anthropic.com",
            Provider::Cohere => "https://api.cohere.com",
            Provider::Gemini => "https://generativelanguage.googleapis.com",
            Provider::Mistral => "https://api.mistral.ai",
            Provider::OpenAi => "https://api.openai.com",
            // Where these listen unless they are told otherwise.
            Provider::Ollama => "http://127.0.0.1:11434",
            Provider::Vllm => "http://127.0.0.1:8000",
            Provider::AzureOpenAi => return Err("https://RESOURCE.openai.azure.com"),
            Provider::Bedrock => return Err("https://bedrock-runtime.REGION.amazonaws.com"),
        };
        url.parse().map_err(|_| url)
    }

    /// As a `Host` field has it.
    fn name(&self) -> String {
        let host = match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    fn cluster(&self, name: &str, ca: Option<&Path>) -> Value {
        let ip = self.host.parse::<IpAddr>().is_ok();
        let address = json!({"socket_address": {"address": self.host, "port_value": self.port}});
        let mut cluster = json!({
            "name": name,
            "type": if ip { "STATIC" } else { "LOGICAL_DNS" },
            "dns_lookup_family": "V4_PREFERRED",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address, "hostname": self.name()}}]}],
            },
        });
        let http2 = json!({"http2_protocol_options": {}});
        if self.tls {
            let mut tls = json!({
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"validation_context": {"trusted_ca": {"filename": ca}}},
            });
            if ip {
                let name = json!([{"san_type": "IP_ADDRESS", "matcher": {"exact": self.host}}]);
                tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"] =
                    name;
            } else {
                tls["sni"] = json!(self.host);
                tls["auto_sni_san_validation"] = json!(true);
            }
            cluster["transport_socket"] =
                json!({"name": "envoy.transport_sockets.tls", "typed_config": tls});
            cluster["typed_extension_protocol_options"] = options(&json!({"auto_config": http2}));
        } else if self.http2 {
            cluster["typed_extension_protocol_options"] =
                options(&json!({"explicit_http_config": http2}));
        }
        cluster
    }
}

fn options(options: &Value) -> Value {
    const NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut options = options.clone();
    options["@type"] = json!(format!("type.googleapis.com/{NAME}"));
    json!({ NAME: options })
}

/// Which address each cluster has that a configuration needs, and the given ones besides.
pub(crate) fn addresses(
    config: &Config,
    given: &[Upstream],
    demo: Option<SocketAddr>,
) -> Result<BTreeMap<String, Address>, String> {
    let of = given
        .iter()
        .map(|given| (given.cluster.clone(), given.address.clone()));
    let mut addresses: BTreeMap<_, _> = of.collect();
    for (at, target) in config.providers.iter().enumerate() {
        if addresses.contains_key(&target.cluster) {
            continue;
        }
        let address = match demo {
            Some(demo) => Address::local(demo),
            None => Address::public(target.provider).map_err(|like| {
                format!(
                    "providers.targets[{at}]: '{}' has no public address: say --upstream {}={like}",
                    target.id, target.cluster
                )
            })?,
        };
        addresses.insert(target.cluster.clone(), address);
    }
    if config.providers.is_empty() && !addresses.contains_key(DEFAULT) {
        let demo = demo.ok_or_else(|| {
            format!("the configuration has no providers: say where requests go with --upstream {DEFAULT}=URL")
        })?;
        addresses.insert(DEFAULT.to_owned(), Address::local(demo));
    }
    for cluster in moderators(config) {
        if !addresses.contains_key(cluster) {
            let demo = demo.ok_or_else(|| {
                format!("content_filter: say where its cluster '{cluster}' is with --upstream {cluster}=URL")
            })?;
            addresses.insert(cluster.to_owned(), Address::local(demo));
        }
    }
    if let Some(service) = &config.counters.service {
        let address = addresses.get_mut(&service.cluster).ok_or_else(|| {
            format!(
                "counters.cluster: say where the rate-limit service is with --upstream {}=grpc://HOST:PORT",
                service.cluster
            )
        })?;
        address.http2 = true;
    }
    Ok(addresses)
}

/// The clusters that policies name to ask about contents.
/// What to say of those given whose names the policy does not have (yet): most likely slips, and requests go elsewhere.
pub(crate) fn unknown(config: &Config, given: &[Upstream]) -> String {
    let targets = config.providers.iter().map(|target| &*target.cluster);
    let default = config.providers.is_empty().then_some(DEFAULT);
    let service = config.counters.service.as_ref();
    let service = service.map(|service| &*service.cluster);
    let known = targets
        .chain(moderators(config))
        .chain(default)
        .chain(service);
    let known: Vec<&str> = known.collect();
    let names = given.iter().map(|given| &*given.cluster);
    let unknown = names.filter(|name| !known.contains(name));
    let lines = unknown.map(|name| {
        let known = known.join(", ");
        format!(
            "warning: --upstream {name}: the policy has no cluster of this name; it has {known}\n"
        )
    });
    lines.collect()
}

fn moderators(config: &Config) -> impl Iterator<Item = &str> {
    let scopes = config.scopes().into_iter();
    let policies = scopes.flat_map(|(_, rules)| {
        let lists = [
            &rules.policies,
            &rules.input_policies,
            &rules.output_policies,
        ];
        lists.into_iter().flatten()
    });
    policies
        .filter(|rule| rule.enabled)
        .filter_map(|rule| match &rule.kind {
            PolicyKind::ContentFilter(content) => content.cluster.as_deref(),
            _ => None,
        })
}

/// Where requests go without `providers`.
pub(crate) const DEFAULT: &str = "default";

/// Envoy's clusters; `None`: there is TLS, and no file of certificate authorities.
pub(crate) fn clusters(
    addresses: &BTreeMap<String, Address>,
    ca: Option<&Path>,
) -> Option<Vec<Value>> {
    if ca.is_none() && addresses.values().any(|address| address.tls) {
        return None;
    }
    let clusters = addresses.iter();
    Some(
        clusters
            .map(|(name, address)| address.cluster(name, ca))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_without_a_path() {
        for (url, host, port, tls, http2) in [
            ("http://10.0.0.7:8000", "10.0.0.7", 8000, false, false),
            (
                "https://api.example.com",
                "api.example.com",
                443,
                true,
                false,
            ),
            (
                "https://api.example.com:8443/",
                "api.example.com",
                8443,
                true,
                false,
            ),
            ("grpc://limits:8081", "limits", 8081, false, true),
            ("vllm:8000", "vllm", 8000, false, false),
            ("http://[::1]:8000", "::1", 8000, false, false),
            ("http://[::1]", "::1", 80, false, false),
        ] {
            let address = Address {
                host: host.to_owned(),
                port,
                tls,
                http2,
            };
            assert_eq!(url.parse(), Ok(address), "{url}");
        }
        for (url, name) in [
            ("https://a.example", "a.example"),
            ("http://a.example:443", "a.example:443"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().name(), name);
        }
        for url in [
            "",
            "ftp://a",
            "http://",
            "http://a/v1",
            "grpc://a",
            "a:b",
            "http://u:p@a",
        ] {
            assert!(url.parse::<Address>().is_err(), "{url}");
        }
    }

    fn config(text: &str) -> Config {
        Config::from_yaml(&format!("version: '1'\n{text}")).unwrap()
    }

    #[test]
    fn every_target_has_an_address_or_says_how_to_give_one() {
        let targets = config(
            "providers: {targets: [{id: a, provider: openai}, {id: b, provider: azure-openai, cluster: east}]}",
        );
        let error = addresses(&targets, &[], None).unwrap_err();
        assert!(
            error.contains("--upstream east=https://RESOURCE.openai.azure.com"),
            "{error}"
        );
        let east: Upstream = "east=https://x.openai.azure.com".parse().unwrap();
        let found = addresses(&targets, std::slice::from_ref(&east), None).unwrap();
        assert_eq!(found["a"].host, "api.openai.com");
        assert_eq!(found["east"], east.address);
        let demo = "127.0.0.1:9".parse().unwrap();
        let found = addresses(&targets, &[], Some(demo)).unwrap();
        assert_eq!(found["a"], Address::local(demo));
        assert_eq!(found["east"], Address::local(demo));
        assert!(addresses(&config("mode: shadow"), &[], None).is_err());
    }

    #[test]
    fn a_moderation_endpoint_has_an_address_like_every_other() {
        let filter = "[{name: p, type: content_filter, config: {cluster: m}}]";
        for place in [
            format!("policies: {filter}"),
            format!("consumer_groups: [{{name: a, api_key: key-of-a, input_policies: {filter}}}]"),
            format!("routes: [{{name: a, policies: {filter}}}]"),
            format!("output_policies: {filter}"),
        ] {
            let config = config(&format!(
                "providers: {{targets: [{{id: a, provider: openai}}]}}\n{place}"
            ));
            let error = addresses(&config, &[], None).unwrap_err();
            assert!(error.contains("--upstream m=URL"), "{error}");
            let given = "m=10.0.0.7:8081".parse().unwrap();
            assert_eq!(addresses(&config, &[given], None).unwrap().len(), 2);
            let demo = "127.0.0.1:9".parse().unwrap();
            let found = addresses(&config, &[], Some(demo)).unwrap();
            assert_eq!(found["m"], Address::local(demo));
        }
    }

    #[test]
    fn a_rate_limit_service_is_spoken_to_in_http2() {
        let service = config(
            "providers: {targets: [{id: a, provider: openai}]}\ncounters: {store: rate_limit_service, cluster: limits}",
        );
        let error = addresses(&service, &[], None).unwrap_err();
        assert!(error.contains("--upstream limits=grpc://"), "{error}");
        let limits = "limits=10.0.0.7:8081".parse().unwrap();
        let found = addresses(&service, &[limits], None).unwrap();
        assert!(found["limits"].http2);
        assert_eq!(clusters(&found, None), None, "which authorities?");
        let clusters = clusters(&found, Some(Path::new("ca.crt"))).unwrap();
        assert!(clusters[1].to_string().contains("explicit_http_config"));
    }
}
