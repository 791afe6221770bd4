//! The plugin's root: one for each configuration that is in force in a VM.

use super::abi::{self, Buffer, Level};
use super::http::Http;
use super::stats::Stats;
use crate::config::Config;
use crate::policy::Policy;
use std::rc::Rc;

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
    pub(super) stats: Stats,
}

impl Root {
    /// Also runs in a throw-away VM when a configuration is only tried out: nothing here may have an effect outside.
    pub(super) fn on_configure(&mut self, size: usize) -> bool {
        let document = abi::buffer(Buffer::PluginConfiguration, 0, size);
        let compiled = Config::from_plugin(&document).and_then(|config| {
            let mut warnings = config.warnings();
            let policy = Policy::compile(config, |name| std::env::var(name).ok())?;
            warnings.extend(policy.warnings());
            Ok((policy, warnings))
        });
        match compiled {
            Ok((policy, warnings)) => {
                for warning in &warnings {
                    abi::log(Level::Warn, &format!("configuration: {warning}"));
                }
                self.serving = Some(Rc::new(Serving {
                    policy: Rc::new(policy),
                    stats: Stats::default(),
                }));
                true
            }
            Err(errors) => {
                for error in &errors {
                    abi::log(Level::Error, &format!("configuration refused: {error}"));
                }
                false
            }
        }
    }

    /// A stream under the configuration that is in force now; `None` before there is one.
    pub(super) fn stream(&self) -> Option<Http> {
        Some(Http::new(Rc::clone(self.serving.as_ref()?)))
    }
}
