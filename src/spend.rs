//! What tokens cost, in millionths of a US dollar. Integers only: sums of events and counters of budgets agree to the last.
//!
//! Knows prices and buckets of tokens, never which model or whose budget.

use crate::json::push_decimal;

/// Prices in millionths of a US dollar for a million tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Price {
    /// `input_per_million`: input that no cache had a part in.
    pub input: u64,
    /// `cached_input_per_million`: input read from a cache.
    pub cached_input: u64,
    /// `cache_write_per_million`: input written to a cache.
    pub cache_write: u64,
    /// `output_per_million`: output, reasoning included.
    pub output: u64,
}

/// Tokens in disjoint buckets: none is in two of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Buckets {
    /// Neither read from a cache nor written to one.
    pub input: u64,
    /// Read from a cache.
    pub cached_input: u64,
    /// Written to a cache.
    pub cache_write: u64,
    /// Output, reasoning included.
    pub output: u64,
}

/// An amount in millionths of a dollar as people write it, exactly: `12`, `0.0025`.
pub fn usd(micro: u64) -> String {
    let mut text = Vec::with_capacity(20);
    push_decimal(&mut text, micro / 1_000_000);
    let mut rest = micro % 1_000_000;
    if rest > 0 {
        text.push(b'.');
    }
    while rest > 0 {
        rest = rest.saturating_mul(10);
        push_decimal(&mut text, rest / 1_000_000);
        rest %= 1_000_000;
    }
    String::from_utf8(text).unwrap_or_default()
}

impl Buckets {
    /// From counts as APIs are normalised to: all input, and the parts of it that caches had to do with.
    pub const fn new(prompt: u64, cached: u64, cache_write: u64, completion: u64) -> Self {
        let cached_input = if cached < prompt { cached } else { prompt };
        let rest = prompt.saturating_sub(cached_input);
        let cache_write = if cache_write < rest {
            cache_write
        } else {
            rest
        };
        Self {
            input: rest.saturating_sub(cache_write),
            cached_input,
            cache_write,
            output: completion,
        }
    }
}

impl Price {
    /// What the tokens cost: summed exactly, then rounded to the nearest millionth of a dollar.
    pub fn of(&self, tokens: Buckets) -> u64 {
        let parts = [
            (tokens.input, self.input),
            (tokens.cached_input, self.cached_input),
            (tokens.cache_write, self.cache_write),
            (tokens.output, self.output),
        ];
        let sum = parts
            .into_iter()
            .fold(500_000_u128, |sum, (tokens, price)| {
                sum.saturating_add(u128::from(tokens).saturating_mul(price.into()))
            });
        u64::try_from(sum.div_euclid(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRICE: Price = Price {
        input: 2_500_000,
        cached_input: 1_250_000,
        cache_write: 3_125_000,
        output: 10_000_000,
    };

    #[test]
    fn amounts_are_written_exactly() {
        let cases = [
            (0, "0"),
            (1, "0.000001"),
            (2_500, "0.0025"),
            (100_000, "0.1"),
            (12_000_000, "12"),
            (12_050_000, "12.05"),
            (u64::MAX, "18446744073709.551615"),
        ];
        for (micro, text) in cases {
            assert_eq!(usd(micro), text);
        }
    }

    #[test]
    fn every_token_is_priced_once() {
        // Prompt, of which read from a cache, written to one; completion: cost.
        let cases = [
            (1_000, 0, 0, 0, 2_500),
            (1_000, 1_000, 0, 0, 1_250),
            (1_000, 400, 0, 100, 1_500 + 500 + 1_000),
            (1_000, 400, 600, 100, 500 + 1_875 + 1_000),
            // Parts that are larger than the whole: the whole is all there is.
            (10, 1_000, 1_000, 0, 13),
            (10, 4, 1_000, 0, 24),
            (1, 0, 0, 0, 3),
            (0, 0, 0, 0, 0),
        ];
        for (prompt, cached, written, completion, cost) in cases {
            let tokens = Buckets::new(prompt, cached, written, completion);
            assert_eq!(PRICE.of(tokens), cost, "{tokens:?}");
        }
    }

    #[test]
    fn the_ends_of_all_numbers_are_no_panic() {
        let most = Price {
            input: u64::MAX,
            cached_input: u64::MAX,
            cache_write: u64::MAX,
            output: u64::MAX,
        };
        assert_eq!(most.of(Buckets::new(u64::MAX, 1, 1, u64::MAX)), u64::MAX);
        assert_eq!(
            Price::default().of(Buckets::new(u64::MAX, 1, 1, u64::MAX)),
            0
        );
    }

    proptest! {
        #[test]
        fn buckets_are_a_partition(prompt: u64, cached: u64, written: u64) {
            let buckets = Buckets::new(prompt, cached, written, 0);
            let parts = [buckets.input, buckets.cached_input, buckets.cache_write];
            let sum: u128 = parts.into_iter().map(u128::from).sum();
            prop_assert_eq!(sum, u128::from(prompt));
            prop_assert!(buckets.cached_input <= cached && buckets.cache_write <= written);
        }
    }
}
