//! Workers and Envoys beside each other.

use super::*;
use proptest::prelude::*;

/// Other workers of the Envoy write first, twice.
struct Contended<'a>(&'a mut Fake, u8);

impl SharedData for Contended<'_> {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        self.0.get(key)
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        if self.1 > 0 {
            self.1 -= 1;
            let same = self.0.value(key).unwrap_or_default().to_vec();
            self.0.put(key, &same);
        }
        self.0.set(key, value, cas)
    }
}

#[test]
fn a_hit_is_spent_once_whoever_writes_first() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    world.warm(8);
    let now = Timestamp(world.now);
    for left in (0..7).rev() {
        let spend = world.at(0, |account, shared| {
            account.spend(&mut Contended(shared, 2), &total(0), NOBODY, now)
        });
        assert!(matches!(spend, Ok(Spend::Paid(_))), "{left}");
    }
    assert_ne!(hits(&world.spend(0, 0)), 0);
}

#[derive(Clone, Debug)]
enum Event {
    /// A request comes to one of the Envoys.
    Comes(usize),
    /// The service gets one of the calls under way.
    Processed(usize),
    /// One of the answers under way arrives.
    Answered(usize),
    /// One of the answers under way is lost.
    Lost(usize),
    /// Time passes.
    Passes(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..3_usize).prop_map(Event::Comes),
        5 => (0..8_usize).prop_map(Event::Processed),
        5 => (0..8_usize).prop_map(Event::Answered),
        1 => (0..8_usize).prop_map(Event::Lost),
        1 => (1..7_000_u64).prop_map(Event::Passes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn never_one_too_many_in_a_window_of_the_service(
        events in proptest::collection::vec(any_event(), 0..400),
        quota in 0_u64..40,
        start in 0_u64..60_000,
    ) {
        let mut world = World::new(3, requests(quota), 8, 30_000);
        world.now += start;
        let mut admitted = BTreeMap::<u64, u64>::new();
        let mut asked = Vec::new();
        let mut processed = Vec::new();
        for event in events {
            match event {
                Event::Comes(envoy) => match world.spend(envoy, 0) {
                    Spend::Paid(_) => *admitted.entry(world.now / 60_000).or_default() += 1,
                    Spend::Ask(ask) => asked.push((envoy, ask, world.now, world.call(&ask))),
                },
                Event::Processed(at) if at < asked.len() => {
                    let (envoy, ask, when, call) = asked.remove(at);
                    let answer = world.process(&call);
                    processed.push((envoy, ask, when, world.now / 60_000, answer));
                }
                Event::Answered(at) if at < processed.len() => {
                    let (envoy, ask, when, window, answer) = processed.remove(at);
                    if world.answer(envoy, &ask, when, answer, 0) {
                        *admitted.entry(window).or_default() += 1;
                    }
                }
                Event::Lost(at) if at < processed.len() => {
                    let (envoy, ask, ..) = processed.remove(at);
                    world.at(envoy, |account, shared| account.failed(shared, &ask)).unwrap();
                }
                Event::Passes(ms) => world.now += ms,
                _ => {}
            }
            for (window, admitted) in &admitted {
                prop_assert!(*admitted <= quota, "{} in {}", admitted, window);
            }
        }
    }

    /// However requests come, less is bought in vain than is spent.
    #[test]
    fn a_batch_is_as_large_as_the_last_ones_were_fast(
        gaps in proptest::collection::vec(prop_oneof![0..20_u64, 0..2_000_u64, 900..5_000_u64], 1..300),
    ) {
        let mut world = World::new(1, requests(1 << 30), 50, 1_000);
        let (mut admitted, mut bought) = (0, 0);
        for gap in gaps {
            world.now += gap;
            let spend = world.spend(0, 0);
            if let Spend::Ask(ask) = spend {
                let call = world.call(&ask);
                let answer = world.process(&call);
                prop_assert!(world.answer(0, &ask, world.now, answer, 0));
                bought += u64::from(ask.hits);
            }
            admitted += 1;
            prop_assert!(bought <= 2 * admitted, "{} for {}", bought, admitted);
        }
    }

    /// Nothing is lost but what batches asked for beyond the quota.
    #[test]
    fn too_few_only_by_batches_that_came_too_late(
        order in proptest::collection::vec(0..4_usize, 400),
        quota in 0_u64..60,
    ) {
        let mut world = World::new(4, requests(quota), 8, 30_000);
        let (mut admitted, mut late) = (0, 0);
        for envoy in order.into_iter().chain((0..4).cycle().take(64)) {
            let Spend::Ask(ask) = world.spend(envoy, 0) else {
                admitted += 1;
                continue;
            };
            let call = world.call(&ask);
            let answer = world.process(&call);
            if world.answer(envoy, &ask, world.now, answer, 0) {
                admitted += 1;
            } else {
                late += u64::from(ask.hits) - 1;
            }
        }
        prop_assert!(admitted <= quota);
        prop_assert!(admitted + late >= quota, "{} + {}", admitted, late);
        // At the end a batch is a quarter of what was left the last time: few come too late.
        prop_assert!(late <= 4 * 7, "{}", late);
    }
}
