//! The plugin's root: one for each configuration that is in force in a VM.

use super::http::Http;
use super::http::now;
use super::moderation::Asides;
use super::readout::Readout;
use super::shared_data::EnvoySharedData;
use super::stats::Stats;
use crate::config::Config;
use crate::exchange::Worker;
use crate::limit::holds::RENEW_EVERY_MS;
use crate::limit::readout;
use crate::limit::seed;
use crate::policy::Policy;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A configuration in force. It lives here and not in a static: during a reload the new root and the old one, which still
/// serves the streams that began under it, share the VM.
#[derive(Debug)]
pub(super) struct Root {
    id: u32,
    serving: Option<Rc<Serving>>,
    /// Whether it answers with counters instead.
    reads_out: bool,
}

impl Root {
    pub(super) const fn new(id: u32) -> Self {
        Self {
            id,
            serving: None,
            reads_out: false,
        }
    }
}

/// What every stream of one configuration shares.
#[derive(Debug)]
pub(super) struct Serving {
    /// The root's number.
    pub(super) root: u32,
    pub(super) policy: Rc<Policy>,
    pub(super) worker: Rc<Worker>,
    pub(super) stats: Stats,
    /// Calls to moderation endpoints that no stream waits for.
    pub(super) asides: Asides,
    /// Whether it was said that the rate-limit service lacks a limit.
    warned: Cell<bool>,
}

impl Serving {
    /// Says once that the rate-limit service does not hold what it is asked about.
    pub(super) fn warn_unmatched(&self) {
        if !self.warned.replace(true)
            && let Some(service) = &self.policy.service
        {
            log::warn!(
                "the rate-limit service '{}' has no limit for some descriptors of domain '{}': its configuration is not the one for this policy; failure_mode holds instead",
                service.cluster,
                service.domain
            );
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, number: u32, _: usize, size: usize, _: usize) {
        if let Some(serving) = &self.serving
            && let Some(line) = serving.asides.answered(number, size)
        {
            serving.worker.keep_line(&line);
        }
    }
}

impl RootContext for Root {
    /// Also runs in a throw-away VM when a configuration is only tried out. What it has counted before was counted all the
    /// same, and the version that it tells is in force in a moment; nothing else here may have an effect outside.
    fn on_configure(&mut self, _: usize) -> bool {
        let document = self.get_plugin_configuration().unwrap_or_default();
        if document == readout::CONFIGURATION {
            self.reads_out = true;
            return true;
        }
        let version = Stats::version(&document);
        let compiled = Config::from_plugin(document).and_then(|config| {
            let mut warnings = config.warnings();
            let policy = Policy::compile(config, |name| std::env::var(name).ok())?;
            warnings.extend(policy.warnings());
            Ok((policy, warnings))
        });
        match compiled {
            Ok((policy, warnings)) => {
                for warning in &warnings {
                    log::warn!("configuration: {warning}");
                }
                Stats::tell_version(version);
                seed::fill(&mut EnvoySharedData, &policy.seed, policy.clock(now()));
                self.set_tick_period(Duration::from_millis(tick_ms(&policy)));
                self.serving = Some(Rc::new(Serving {
                    root: self.id,
                    policy: Rc::new(policy),
                    worker: Rc::default(),
                    stats: Stats::default(),
                    asides: Asides::default(),
                    warned: Cell::default(),
                }));
                true
            }
            Err(errors) => {
                for error in &errors {
                    log::error!("configuration refused: {error}");
                }
                false
            }
        }
    }

    /// No queue of Envoy's: a stream has calls for the root to make.
    fn on_queue_ready(&mut self, _: u32) {
        if let Some(serving) = &self.serving {
            let late = |line: &str| serving.worker.keep_line(line);
            serving.asides.make(late);
        }
    }

    /// On every worker, also under a configuration that only serves what began under it.
    fn on_tick(&mut self) {
        let Some(serving) = &self.serving else {
            return;
        };
        let now = now();
        let policy = &serving.policy;
        let shared = &mut EnvoySharedData;
        let errors = serving.worker.renew(shared, policy.clock(now));
        Stats::count_store_errors(errors);
        serving.stats.tell_limits(policy, shared, now);
        if let Some(service) = &policy.service {
            for report in serving.worker.reports(service, shared) {
                super::service::call(service, &report);
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        if self.reads_out {
            return Some(Box::new(Readout));
        }
        let serving = self.serving.as_ref()?;
        Some(Box::new(Http::new(id, Rc::clone(serving))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// How often there is something to do besides requests.
fn tick_ms(policy: &Policy) -> u64 {
    let lease = policy.service.as_ref().and_then(|service| service.lease);
    lease.map_or(RENEW_EVERY_MS, |lease| {
        RENEW_EVERY_MS.min(lease.max_age_ms.into())
    })
}
