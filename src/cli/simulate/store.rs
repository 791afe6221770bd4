//! Envoy's shared data as far as one thread can tell.

use crate::limit::{Cas, CasMismatch, SharedData};
use std::collections::HashMap;

#[derive(Default)]
pub(in crate::cli) struct Store {
    values: HashMap<String, (Vec<u8>, u32)>,
    versions: u32,
}

impl SharedData for Store {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        match self.values.get(key) {
            Some((value, version)) => (Some(value.clone()), Cas(*version)),
            None => (None, Cas::ABSENT),
        }
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        if self.get(key).1 != cas {
            return Err(CasMismatch);
        }
        self.versions = self.versions.wrapping_add(1);
        let entry = (value.to_vec(), self.versions);
        self.values.insert(key.to_owned(), entry);
        Ok(())
    }
}
