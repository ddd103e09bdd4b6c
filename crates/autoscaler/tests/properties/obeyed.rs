//! What follows when the rule is obeyed: a service whose load is shared evenly, looked at every two
//! seconds, where what was asked for happens after a while.

use std::time::Duration;

use autoscaler::{
    rule::{Act, Pace, Rule, Situation, decide},
    window::{Moment, Sample},
};
use proptest::prelude::*;

use super::SECOND;

/// Seconds from look to look.
const EVERY: i64 = 2;
/// Seconds until a new instance is ready.
const STARTS_IN: i64 = 4;

/// A service in this small world.
struct World {
    rule: Rule,
    pace: Pace,
    now: i64,
    /// What each ready instance used in each look so far, the newest last.
    ready: Vec<Vec<Sample>>,
    /// When each of these becomes ready, in seconds.
    starting: Vec<i64>,
    wanted: u32,
    last_out: Option<Moment>,
    last_action: Option<Moment>,
    /// Seconds and direction of everything that was done.
    done: Vec<(i64, Act)>,
}

impl World {
    fn new(rule: Rule, pace: Pace, instances: u32) -> Self {
        Self {
            wanted: instances,
            rule,
            pace,
            now: 0,
            ready: vec![Vec::new(); instances as usize],
            starting: Vec::new(),
            last_out: None,
            last_action: Some(Moment(0)),
            done: Vec::new(),
        }
    }

    /// Lives for some seconds under a load, in percent of one instance, that all share; an
    /// instance uses no more than all of its own.
    fn live(&mut self, seconds: i64, load: f64) {
        let end = self.now + seconds;
        while self.now < end {
            let cpu = (load / self.ready.len() as f64).min(100.0);
            let (from, to) = (
                Moment(self.now * SECOND),
                Moment((self.now + EVERY) * SECOND),
            );
            self.now += EVERY;
            for samples in &mut self.ready {
                samples.push(Sample { from, to, cpu });
                // More than any window holds.
                if samples.len() > 40 {
                    samples.remove(0);
                }
            }
            let now = self.now;
            let before = self.starting.len();
            self.starting.retain(|&at| at > now);
            for _ in self.starting.len()..before {
                self.ready.push(Vec::new());
            }
            self.act();
        }
    }

    fn act(&mut self) {
        let now = Moment(self.now * SECOND);
        let seen = Situation {
            now,
            ready: self.ready.iter().map(Vec::as_slice).collect(),
            starting: self.starting.len() as u32,
            wanted: self.wanted,
            short_since: None,
            last_out: self.last_out,
            last_action: self.last_action,
            ..Situation::default()
        };
        let act = decide(&self.rule, &self.pace, &seen).act;
        match act {
            Act::Hold => return,
            Act::Out(more) => {
                let at = self.now + STARTS_IN;
                self.starting.extend((0..more).map(|_| at));
                self.wanted += more;
                self.last_out = Some(now);
            }
            Act::In(fewer) => {
                self.ready.truncate(self.ready.len() - fewer as usize);
                self.wanted -= fewer;
            }
        }
        self.last_action = Some(now);
        self.done.push((self.now, act));
    }
}

#[test]
fn load_is_answered_within_fifteen_seconds_and_idleness_later() {
    let mut world = World::new(Rule::default(), Pace::default(), 2);
    world.live(100, 20.0);
    world.ready.truncate(2);
    world.wanted = world.ready.len() as u32;
    world.done.clear();
    let begun = world.now;
    world.live(60, 1_000.0);
    let (first, act) = world.done[0];
    assert_eq!(act, Act::Out(1));
    assert!(first - begun <= 15, "{} s", first - begun);
    assert!(world.done.len() >= 2, "the load goes on: {:?}", world.done);
    world.live(60 * 15, 0.0);
    assert_eq!(world.ready.len(), 1, "idle, it comes back to the least");
}

/// Three share a load that two can bear and one can not. Right after the first was taken away,
/// the two that stay have used little of the window: theirs alone is not the load.
#[test]
fn what_was_used_before_one_was_taken_away_does_not_take_another() {
    let rule = Rule {
        max_cpu: 97.0,
        min_cpu: 82.0,
        max_instances: 3,
        ..Rule::default()
    };
    let pace = Pace {
        window: Duration::from_secs(7),
        cooldown_out: Duration::ZERO,
        cooldown_in: Duration::ZERO,
        ..Pace::default()
    };
    let mut world = World::new(rule, pace, 3);
    world.live(120, 101.0);
    assert_eq!(world.done, [(8, Act::In(1))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_even_load_is_settled_for_good(
        rule in super::rules(),
        pace in super::paces(),
        load in 0.0..1_500.0_f64,
        instances in 1..12_u32,
    ) {
        let instances = instances.clamp(rule.min_instances, rule.max_instances);
        let mut world = World::new(rule, pace, instances);
        // Eleven steps at most, each after a cool-down and a start.
        world.live(2_000, load);
        let settled = world.done.len();
        world.live(1_000, load);
        prop_assert_eq!(world.done.len(), settled, "{:?}", &world.done);
        // A step may go too far and be taken back in part; nothing that was taken back returns.
        let acts = world.done.iter().map(|(_, act)| act);
        let mut after_in = acts.skip_while(|act| matches!(act, Act::Out(_)));
        let comes_back = after_in.any(|act| matches!(act, Act::Out(_)));
        prop_assert!(!comes_back, "{:?}", &world.done);
        let total = world.ready.len() as u32;
        prop_assert!((world.rule.min_instances..=world.rule.max_instances).contains(&total));
        let cpu = (load / f64::from(total)).min(100.0);
        prop_assert!(cpu <= world.rule.max_cpu || total == world.rule.max_instances);
    }
}
