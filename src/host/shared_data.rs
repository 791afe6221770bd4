//! Envoy's shared data as the store of counters.

use super::abi;
use crate::limit::{Cas, CasMismatch, SharedData};

/// Shared by all workers of one Envoy and kept over configuration reloads.
#[derive(Debug)]
pub(super) struct EnvoySharedData;

impl SharedData for EnvoySharedData {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        match abi::shared_data(key) {
            Some((value, cas)) => ((!value.is_empty()).then_some(value), Cas(cas)),
            None => (None, Cas::ABSENT),
        }
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        if abi::set_shared_data(key, value, cas.0) {
            Ok(())
        } else {
            Err(CasMismatch)
        }
    }
}
