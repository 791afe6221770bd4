//! What a group's tokens cost.

use super::ModelPattern;
use crate::config::{Spend, Unpriced};
use crate::spend::{Buckets, Price};

/// Prices by model, and what becomes of a model that has none.
#[derive(Debug, Default)]
pub struct Pricing {
    prices: Vec<(ModelPattern, Price)>,
    /// Whether a model without a price may be used although there is a budget.
    allows_unpriced: bool,
}

impl Pricing {
    /// Compiles what holds.
    pub(super) fn compile(spend: &Spend) -> Self {
        let prices = spend.pricing.iter().flatten();
        let unpriced = spend.unpriced.unwrap_or_default();
        Self {
            prices: prices
                .map(|(models, price)| (ModelPattern::new(models.clone()), *price))
                .collect(),
            allows_unpriced: unpriced == Unpriced::Allow,
        }
    }

    /// The price of a model: the first that fits.
    pub fn of(&self, model: &str) -> Option<&Price> {
        let mut prices = self.prices.iter();
        let (_, price) = prices.find(|(pattern, _)| pattern.matches(model))?;
        Some(price)
    }

    /// Whether a model may be used under a budget.
    pub fn covers(&self, model: &str) -> bool {
        self.allows_unpriced || self.of(model).is_some()
    }

    /// What tokens cost, in millionths of a US dollar. Of several models that may have answered the dearest did, as far as
    /// anyone here can tell.
    pub fn cost(&self, models: &[String], tokens: Buckets) -> u64 {
        if self.prices.is_empty() {
            return 0;
        }
        let costs = models.iter().filter_map(|model| self.of(model));
        costs.map(|price| price.of(tokens)).max().unwrap_or(0)
    }
}
