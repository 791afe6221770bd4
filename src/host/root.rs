//! The plugin's root: one for each configuration that is in force in a VM.

use super::http::Http;
use super::http::now;
use super::shared_data::EnvoySharedData;
use super::stats::Stats;
use crate::config::Config;
use crate::exchange::Worker;
use crate::limit::holds::RENEW_EVERY_MS;
use crate::limit::seed;
use crate::policy::Policy;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use std::rc::Rc;
use std::time::Duration;

/// A configuration in force. It lives here and not in a static: during a reload the new root and the old one, which still
/// serves the streams that began under it, share the VM.
#[derive(Debug, Default)]
pub(super) struct Root {
    serving: Option<Rc<Serving>>,
}

/// What every stream of one configuration shares.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) policy: Rc<Policy>,
    pub(super) worker: Rc<Worker>,
    pub(super) stats: Stats,
}

impl Context for Root {}

impl RootContext for Root {
    /// Also runs in a throw-away VM when a configuration is only tried out. What it has counted before was counted all the
    /// same; nothing else here may have an effect outside.
    fn on_configure(&mut self, _: usize) -> bool {
        let document = self.get_plugin_configuration().unwrap_or_default();
        let compiled = Config::from_plugin(&document).and_then(|config| {
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
                seed::fill(&mut EnvoySharedData, &policy.seed, policy.clock(now()));
                self.set_tick_period(Duration::from_millis(RENEW_EVERY_MS));
                self.serving = Some(Rc::new(Serving {
                    policy: Rc::new(policy),
                    worker: Rc::default(),
                    stats: Stats::default(),
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

    /// On every worker, also under a configuration that only serves what began under it.
    fn on_tick(&mut self) {
        if let Some(serving) = &self.serving {
            let clock = serving.policy.clock(now());
            serving.worker.renew(&mut EnvoySharedData, clock);
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let serving = self.serving.as_ref()?;
        Some(Box::new(Http::new(Rc::clone(serving))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
