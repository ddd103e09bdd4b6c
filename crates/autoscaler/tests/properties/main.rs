//! Properties of the rule over any situation, and of what follows when it is obeyed for long.
//!
//! A failing property prints the smallest input it found, and keeps its seed in a file beside
//! the sources, which belongs in the commit that mends it.

mod obeyed;

use std::time::Duration;

use autoscaler::{
    rule::{Act, Decision, Pace, Reason, Rule, Situation, decide},
    window::{Moment, Sample, average},
};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
/// Now, in the situations that are drawn: far from the start of the clock.
const NOW: Moment = Moment(1_000 * SECOND);

/// A situation that owns its samples.
#[derive(Clone, Debug)]
struct Drawn {
    rule: Rule,
    pace: Pace,
    samples: Vec<Vec<Sample>>,
    starting: u32,
    unstarted: u32,
    replacing: u32,
    unready: u32,
    unhealthy: Vec<Vec<Sample>>,
    leaving: u32,
    wanted: u32,
    short_since: Option<Moment>,
    last_out: Option<Moment>,
    last_action: Option<Moment>,
}

impl Drawn {
    fn situation(&self) -> Situation<'_> {
        Situation {
            now: NOW,
            ready: self.samples.iter().map(Vec::as_slice).collect(),
            starting: self.starting,
            unstarted: self.unstarted,
            replacing: self.replacing,
            unready: self.unready,
            unhealthy: self.unhealthy.iter().map(Vec::as_slice).collect(),
            leaving: self.leaving,
            wanted: self.wanted,
            short_since: self.short_since,
            last_out: self.last_out,
            last_action: self.last_action,
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.rule, &self.pace, &self.situation())
    }

    fn total(&self) -> u32 {
        self.situation().total()
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    (1.0..100.0_f64, 0.0..1.0_f64, 1..4_u32, 1..6_u32, 0..6_u32).prop_map(
        |(max_cpu, part, step, min_instances, more)| Rule {
            max_cpu,
            min_cpu: max_cpu * part,
            step,
            min_instances,
            max_instances: min_instances + more,
        },
    )
}

fn paces() -> impl Strategy<Value = Pace> {
    (2..30_u64, 0..60_u64, 0..60_u64).prop_map(|(window, out, r#in)| Pace {
        window: Duration::from_secs(window),
        cooldown_out: Duration::from_secs(out),
        cooldown_in: Duration::from_secs(r#in),
        short_for: Duration::from_secs(window / 4),
    })
}

/// Samples of one container in any part of the past, adjoining or not, at any load.
fn histories() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (0..40 * SECOND, 0..5 * SECOND, 0.0..150.0_f64);
    let whole = (0.0..150.0_f64).prop_map(|cpu| {
        vec![Sample {
            from: Moment(NOW.0 - 100 * SECOND),
            to: NOW,
            cpu,
        }]
    });
    let any = prop::collection::vec(sample, 0..12).prop_map(|drawn| {
        let mut to = NOW.0;
        let mut samples = Vec::new();
        for (gap, long, cpu) in drawn {
            let from = to - long;
            samples.push(Sample {
                from: Moment(from),
                to: Moment(to),
                cpu,
            });
            // Most adjoin.
            to = from - if gap % 3 == 0 { gap } else { 0 };
        }
        samples.reverse();
        samples
    });
    prop_oneof![whole, any]
}

fn moments() -> impl Strategy<Value = Option<Moment>> {
    prop::option::of((0..120 * SECOND).prop_map(|ago| Moment(NOW.0 - ago)))
}

prop_compose! {
    fn situations()(
        rule in rules(),
        pace in paces(),
        samples in prop::collection::vec(histories(), 0..10),
        (starting, unready, leaving, wanted) in (0..3_u32, 0..3_u32, 0..3_u32, 0..14_u32),
        (unstarted, replacing) in (0..3_u32, prop_oneof![3 => Just(0), 1 => 1..3_u32]),
        unhealthy in prop::collection::vec(histories(), 0..3),
        keeps in any::<bool>(),
        (short_since, last_out, last_action) in (moments(), moments(), moments()),
    ) -> Drawn {
        let total = (samples.len() + unhealthy.len()) as u32 + starting + unready;
        // Half the time as many are wanted as there are: else all would be about loss.
        let wanted = if keeps { total } else { wanted };
        Drawn {
            rule, pace, samples, starting, leaving, wanted, short_since, last_out, last_action,
            unstarted: unstarted.min(starting),
            replacing,
            unready: unready + unhealthy.len() as u32,
            unhealthy,
        }
    }
}

/// The sum of what is known to be in use.
fn load(drawn: &Drawn) -> f64 {
    let averages = drawn.samples.iter();
    let averages = averages.filter_map(|it| average(it, NOW, drawn.pace.window));
    averages.map(|it| it.cpu).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_bounds_hold(drawn in situations()) {
        let (total, rule) = (drawn.total(), &drawn.rule);
        match drawn.decide().act {
            Act::Hold => {}
            Act::Out(more) => {
                prop_assert!(more >= 1);
                prop_assert!(total + more <= rule.max_instances);
            }
            Act::In(fewer) => {
                prop_assert!(fewer >= 1);
                prop_assert!(total - fewer >= rule.min_instances);
            }
        }
    }

    #[test]
    fn fewer_than_the_least_go_straight_up(drawn in situations()) {
        let total = drawn.total();
        let wanted = drawn.wanted.clamp(drawn.rule.min_instances, drawn.rule.max_instances);
        let long = drawn.short_since.is_some_and(|since| NOW.since(since) >= drawn.pace.short_for);
        if total < wanted {
            let expected = if long { Act::Out(wanted - total) } else { Act::Hold };
            prop_assert_eq!(drawn.decide().act, expected);
        }
    }

    #[test]
    fn more_than_the_most_go_in_one_batch_at_a_time(drawn in situations()) {
        // What was made and not started is none too many.
        let running = drawn.total() - drawn.unstarted;
        let wanted = drawn.wanted.clamp(drawn.rule.min_instances, drawn.rule.max_instances);
        let most = drawn.rule.max_instances;
        if drawn.total() >= wanted && running > most {
            let is_quiet = drawn.leaving == 0 && drawn.replacing == 0;
            let expected = if is_quiet { Act::In(running - most) } else { Act::Hold };
            prop_assert_eq!(drawn.decide().act, expected);
        }
    }

    #[test]
    fn none_goes_while_others_replace_some(drawn in situations()) {
        let is_in = matches!(drawn.decide().act, Act::In(_));
        prop_assert!(drawn.replacing == 0 || !is_in);
    }

    #[test]
    fn an_unhealthy_one_counts_upwards_only(mut drawn in situations()) {
        let with = drawn.decide().cpu;
        drawn.unhealthy.clear();
        let without = drawn.decide().cpu;
        prop_assert!(with >= without, "{:?} {:?}", with, without);
    }

    #[test]
    fn load_adds_a_step_and_keeps_its_pace(drawn in situations()) {
        let decision = drawn.decide();
        if let (Act::Out(more), Reason::Above { cpu, .. }) = (decision.act, decision.reason) {
            prop_assert!(cpu > drawn.rule.max_cpu);
            prop_assert!(more <= drawn.rule.step);
            prop_assert_eq!(drawn.starting, 0);
            let cooled = drawn.last_out.is_none_or(|at| NOW.since(at) >= drawn.pace.cooldown_out);
            prop_assert!(cooled);
        }
    }

    #[test]
    fn idleness_takes_a_step_and_keeps_its_pace(drawn in situations()) {
        let decision = drawn.decide();
        if let (Act::In(fewer), Reason::Below { cpu, .. }) = (decision.act, decision.reason) {
            prop_assert!(cpu < drawn.rule.min_cpu);
            prop_assert!(fewer <= drawn.rule.step);
            prop_assert_eq!(drawn.starting + drawn.unready + drawn.leaving, 0);
            let cooled = drawn.last_action.is_none_or(|at| NOW.since(at) >= drawn.pace.cooldown_in);
            prop_assert!(cooled);
            // Everything is known, and the rest can carry it.
            for samples in &drawn.samples {
                let average = average(samples, NOW, drawn.pace.window);
                prop_assert!(average.is_some_and(|it| it.covered > 0.89));
            }
            let rest = drawn.samples.len() as u32 - fewer;
            prop_assert!(rest >= 1);
            prop_assert!(load(&drawn) / f64::from(rest) <= drawn.rule.max_cpu);
        }
    }

    #[test]
    fn what_is_not_known_never_takes_any_away(drawn in situations(), at in any::<prop::sample::Index>()) {
        let mut drawn = drawn;
        prop_assume!(!drawn.samples.is_empty());
        let at = at.index(drawn.samples.len());
        drawn.samples[at].clear();
        let decision = drawn.decide();
        let too_many = matches!(decision.reason, Reason::TooMany { .. });
        prop_assert!(too_many || !matches!(decision.act, Act::In(_)), "{:?}", decision);
    }

    #[test]
    fn every_reason_says_something(drawn in situations()) {
        prop_assert!(drawn.decide().reason.to_string().len() > 5);
    }

    #[test]
    fn an_average_lies_between_the_least_and_the_most(samples in histories(), window in 1..60_u64) {
        if let Some(average) = average(&samples, NOW, Duration::from_secs(window)) {
            let cpu = samples.iter().map(|it| it.cpu);
            let least = cpu.clone().fold(f64::INFINITY, f64::min);
            let most = cpu.fold(0.0, f64::max);
            prop_assert!(average.cpu >= least - 1e-6 && average.cpu <= most + 1e-6);
            prop_assert!(average.covered > 0.0 && average.covered <= 1.0 + 1e-9);
        }
    }
}
