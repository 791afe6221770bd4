//! `cohort render`: a policy as those want it who run the filter, or count for it.
//!
//! Reads the policy, refuses it as `lint` would, and says what a target cannot do. What comes out is `render`'s.

mod output;

use super::run::{Source, one_port};
use super::{Failure, NO_POLICY, diagnostics, log, order};
use crate::config::{self, Additions, Config, ConfigError};
use crate::policy::Policy;
use crate::render::envoy::{self, Filter, Listen, Standalone, Upstream};
use crate::render::envoy_gateway::EnvoyGateway;
use crate::render::istio::{Form, Istio};
use crate::render::{limitador, ratelimit};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where packages and images have the filter.
const MODULE: &str = "/usr/share/cohort/cohort.wasm";

/// Print what Envoy, Istio, Envoy Gateway or a rate-limit service needs for a policy
///
/// API keys come out as digests, secrets as the names of environment variables. What is rendered is made anew from the
/// policy whenever it changes; nobody should have to edit it.
#[derive(clap::Subcommand)]
pub(super) enum Render {
    Envoy(EnvoyTarget),
    Ecds(EcdsTarget),
    Istio(IstioTarget),
    EnvoyGateway(EnvoyGatewayTarget),
    /// The limits, for envoyproxy/ratelimit
    Ratelimit(Common),
    /// The limits, for Limitador
    Limitador(Common),
}

#[derive(clap::Args)]
pub(super) struct Common {
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
    /// Write to this file, in one step, and not to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A complete bootstrap for an Envoy of your own
#[derive(clap::Args)]
pub(super) struct EnvoyTarget {
    #[command(flatten)]
    common: Common,
    /// The filter, where Envoy runs
    #[arg(long, value_name = "PATH", default_value = MODULE)]
    wasm: PathBuf,
    /// Where the gateway listens
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Where the gateway listens
    #[arg(long, value_name = "N", default_value_t = 41002, value_parser = clap::value_parser!(u16).range(2..))]
    port: u16,
    /// Envoy's admin page, on 127.0.0.1 only: metrics, statistics; default: the port before the gateway's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: Option<u16>,
    /// Where a provider target is, by the name of its cluster (its id): vllm=http://10.0.0.7:8000
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<Upstream>,
    /// Certificate authorities, where Envoy runs
    #[arg(long, value_name = "PATH", default_value = envoy::AUTHORITIES)]
    ca: PathBuf,
    /// The folder of the event log and the access log, where Envoy runs
    #[arg(long, value_name = "PATH", default_value = ".cohort")]
    logs: PathBuf,
    /// Read the policy from this file, which `render ecds` writes, and follow it
    #[arg(long, value_name = "PATH")]
    filter_file: Option<PathBuf>,
}

/// The filter's part alone, as a file that a running Envoy follows
///
/// With `--output` the file is replaced in one step, which is what Envoy watches for.
#[derive(clap::Args)]
pub(super) struct EcdsTarget {
    #[command(flatten)]
    common: Common,
    /// The filter, where Envoy runs
    #[arg(long, value_name = "PATH", default_value = MODULE)]
    wasm: PathBuf,
}

/// Manifests for the gateways of an Istio mesh
#[derive(clap::Args)]
pub(super) struct IstioTarget {
    #[command(flatten)]
    common: Common,
    /// The filter: file:// in the gateway's pods, oci://, http:// or https://
    #[arg(long, value_name = "URL", default_value = "file:///usr/share/cohort/cohort.wasm", value_parser = wasm_url)]
    wasm: String,
    /// The checksum of the module, or of the image
    #[arg(long, value_name = "HEX", value_parser = checksum)]
    sha256: Option<String>,
    /// The gateways' namespace
    #[arg(long, value_name = "NAME", default_value = "istio-system")]
    namespace: String,
    /// A label of the gateways' pods; may be said several times
    #[arg(long = "selector", value_name = "KEY=VALUE", default_value = "istio=ingressgateway", value_parser = label)]
    selectors: Vec<(String, String)>,
    /// How the filter gets there; default: envoy-filter, or wasm-plugin where the policy does not hold request headers
    #[arg(long, value_name = "FORM")]
    form: Option<Form>,
    /// Where one line a request goes, in the gateway's pods
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout")]
    event_log: String,
}

/// Manifests for Envoy Gateway
#[derive(clap::Args)]
pub(super) struct EnvoyGatewayTarget {
    #[command(flatten)]
    common: Common,
    /// The filter: http:// or https://, else an image (REGISTRY/NAME:TAG)
    #[arg(long, value_name = "URL", value_parser = image_or_url)]
    wasm: String,
    /// The checksum of the module, or of the image
    #[arg(long, value_name = "HEX", value_parser = checksum)]
    sha256: Option<String>,
    /// The namespace of the gateway and its routes
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// The Gateway
    #[arg(long, value_name = "NAME", default_value = "eg")]
    gateway: String,
    /// An `HTTPRoute` that leads to models; may be said several times
    #[arg(long = "route", value_name = "NAME", default_value = "llm")]
    routes: Vec<String>,
}

/// A policy that the filter takes, and as it takes it.
struct Rendered {
    config: Config,
    document: String,
}

impl Render {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Envoy(target) => target.run(),
            Self::Ecds(target) => target.run(),
            Self::Istio(target) => target.run(),
            Self::EnvoyGateway(target) => target.run(),
            Self::Ratelimit(common) => common.run(|policy| Ok(policy.counted_by(ratelimit))),
            Self::Limitador(common) => common.run(|policy| Ok(policy.counted_by(limitador))),
        }
    }
}

impl Rendered {
    /// What a rate-limit service is to count.
    fn counted_by(&self, render: fn(&Config) -> String) -> String {
        if self.config.counters.service.is_none() {
            complain(
                "note: nothing asks a service about these: the policy counts in Envoy, as it has no `counters.store: rate_limit_service`\n",
            );
        }
        render(&self.config)
    }
}

impl EnvoyTarget {
    fn run(self) -> Result<ExitCode, Failure> {
        let filter = Filter {
            wasm: &self.wasm,
            stand_in: None,
        };
        let before = self.port.saturating_sub(1);
        let admin = self.admin_port.unwrap_or(before);
        if admin == self.port {
            return Err(Failure(one_port(admin)));
        }
        let standalone = Standalone {
            listen: Listen {
                address: self.address,
                port: self.port,
                admin,
            },
            upstreams: &self.upstreams,
            ca: &self.ca,
            logs: &self.logs,
            filter_file: self.filter_file.as_deref(),
        };
        self.common.run(|policy| {
            complain(&envoy::unknown(&policy.config, &self.upstreams));
            let document = envoy::readable(&policy.document);
            standalone.render(&filter, &policy.config, &document)
        })
    }
}

impl EcdsTarget {
    fn run(self) -> Result<ExitCode, Failure> {
        let filter = Filter {
            wasm: &self.wasm,
            stand_in: None,
        };
        self.common.run(|policy| {
            let document = envoy::readable(&policy.document);
            envoy::discovery(&filter, &policy.config, &document).ok_or_else(broken)
        })
    }
}

impl IstioTarget {
    fn run(self) -> Result<ExitCode, Failure> {
        let Some(mut policy) = self.common.load()? else {
            return Ok(ExitCode::FAILURE);
        };
        let form = self.form.unwrap_or(if policy.config.hold_request_headers {
            Form::EnvoyFilter
        } else {
            Form::WasmPlugin
        });
        if form == Form::WasmPlugin
            && !self
                .common
                .fit_for_kubernetes(&mut policy, "a WasmPlugin")?
        {
            return Ok(ExitCode::FAILURE);
        }
        let istio = Istio {
            form,
            namespace: &self.namespace,
            selector: &self.selectors,
            wasm: &self.wasm,
            sha256: self.sha256.as_deref(),
            event_log: &self.event_log,
        };
        let document = match form {
            Form::EnvoyFilter => envoy::readable(&policy.document),
            Form::WasmPlugin => policy.document,
        };
        let text = istio.render(&policy.config, &document);
        self.common
            .write(&text.ok_or_else(broken).map_err(Failure)?)
    }
}

impl EnvoyGatewayTarget {
    fn run(self) -> Result<ExitCode, Failure> {
        let Some(mut policy) = self.common.load()? else {
            return Ok(ExitCode::FAILURE);
        };
        if !self
            .common
            .fit_for_kubernetes(&mut policy, "Envoy Gateway")?
        {
            return Ok(ExitCode::FAILURE);
        }
        let gateway = EnvoyGateway {
            namespace: &self.namespace,
            gateway: &self.gateway,
            routes: &self.routes,
            wasm: &self.wasm,
            sha256: self.sha256.as_deref(),
        };
        let text = gateway.render(&policy.config, &policy.document);
        self.common
            .write(&text.ok_or_else(broken).map_err(Failure)?)
    }
}

impl Common {
    fn run(
        &self,
        render: impl FnOnce(&Rendered) -> Result<String, String>,
    ) -> Result<ExitCode, Failure> {
        match self.load()? {
            Some(policy) => self.write(&render(&policy).map_err(Failure)?),
            None => Ok(ExitCode::FAILURE),
        }
    }

    /// `None`: it is invalid, and that was said.
    fn load(&self) -> Result<Option<Rendered>, Failure> {
        if !log::is_stdin(&self.config) {
            std::fs::File::open(&self.config)
                .map_err(|error| Failure::reading(&self.config, &error, NO_POLICY))?;
        }
        match Source::File(self.config.clone()).load(|_| Some(SECRET.to_owned())) {
            Ok(loaded) => Ok(Some(Rendered {
                document: loaded.document(&[]),
                config: loaded.config,
            })),
            Err(errors) => {
                complain(&errors);
                Ok(None)
            }
        }
    }

    /// A host that cannot hold headers and keeps no order of members; false: it would be another policy there.
    fn fit_for_kubernetes(&self, policy: &mut Rendered, host: &str) -> Result<bool, Failure> {
        let held = policy.config.hold_request_headers;
        let additions = Additions {
            without_hold: true,
            ..Additions::default()
        };
        let document = config::publish(&policy.document, &additions);
        policy.document = document.ok_or_else(broken).map_err(Failure)?;
        let checked = Config::from_json(policy.document.as_bytes()).and_then(|config| {
            Policy::compile(config.clone(), |_| Some(SECRET.to_owned())).map(|_| config)
        });
        let mut errors = match checked {
            Ok(config) => {
                policy.config = config;
                unordered(&policy.config)
            }
            Err(errors) => errors,
        };
        if held {
            complain(&format!(
                "note: {host} cannot hold request headers: `hold_request_headers: false` is written into the policy\n"
            ));
        }
        if errors.is_empty() {
            return Ok(true);
        }
        for error in &mut errors {
            error.location = None; // not in the author's file
        }
        let name = self.config.display().to_string();
        complain(&diagnostics::render_errors_styled(&name, &errors));
        Ok(false)
    }

    fn write(&self, text: &str) -> Result<ExitCode, Failure> {
        output::write(self.output.as_deref(), text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prices that would be other ones where the members of a map are sorted.
fn unordered(config: &Config) -> Vec<ConfigError> {
    let pairs = order::swapped(config).into_iter();
    let errors = pairs.map(|pair| {
        let message = format!(
            "Kubernetes sorts maps, and `{}` would come before `{}` and take its models",
            pair.first, pair.later
        );
        let mut error = ConfigError::new(pair.path, message);
        error.help = Some(order::KEEP.to_owned());
        error
    });
    errors.collect()
}

/// Secrets are Envoy's to have.
const SECRET: &str = "secret";

fn broken() -> String {
    envoy::BROKEN.to_owned()
}

fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}

fn wasm_url(text: &str) -> Result<String, String> {
    let known = ["file:///", "oci://", "http://", "https://"];
    if known.iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.to_owned());
    }
    Err("file:///PATH, oci://IMAGE, http://… or https://…".to_owned())
}

/// What Envoy Gateway can fetch: it has no files.
fn image_or_url(text: &str) -> Result<String, String> {
    let known = ["http", "https", "oci"];
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_none_or(|scheme| known.contains(&scheme)) && text.contains('/') {
        return Ok(text.to_owned());
    }
    Err("REGISTRY/NAME:TAG, oci://IMAGE, http://… or https://…".to_owned())
}

fn checksum(text: &str) -> Result<String, String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(hex) {
        return Ok(text.to_owned());
    }
    Err("64 hexadecimal digits, in lower case".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("KEY=VALUE, as in istio=ingressgateway")?;
    Ok((key.to_owned(), value.to_owned()))
}
