//! What to do about one service, decided purely: no I/O, no clock, no memory.
//!
//! The mission's rule is 70/40/1: above 70 % CPU one container more, below 40 % one fewer. Around
//! it stand the bounds, cool-downs, and two caveats taken from how horizontal scalers are commonly
//! built: what is not known counts as idle when more are to be added and forbids taking any away.

use std::{fmt, time::Duration};

use crate::window::{Moment, Sample, average};

/// The least part of a window that must be known for a container's average to count.
const KNOWN_TO_COUNT: f64 = 0.5;
/// The least part that must be known, of every container, before one is taken away.
const KNOWN_TO_SHRINK: f64 = 0.9;
/// After taking some away the rest must stay below this part of the upper threshold, or a breath
/// of noise would bring them back.
const HEADROOM: f64 = 0.9;
/// What a service keeps to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Above this average there are too few; percent of one container's CPU limit, or of one CPU.
    pub max_cpu: f64,
    /// Below this average there are too many; the same percent.
    pub min_cpu: f64,
    /// How many are added or taken away at once; at least 1.
    pub step: u32,
    /// Never fewer than these; at least 1.
    pub min_instances: u32,
    /// Never more than these; at least [`Self::min_instances`].
    pub max_instances: u32,
}

/// How fast it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What CPU is averaged over.
    pub window: Duration,
    /// The least time between adding and adding again.
    pub cooldown_out: Duration,
    /// The least time between any action and taking away. A window must have passed as well: what
    /// was used before an action does not say how much the instances that stay have to do now.
    pub cooldown_in: Duration,
    /// How long a service may have fewer instances than it should before that is mended: Docker's
    /// own restart, and a deployment that replaces a container, take less.
    pub short_for: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            cooldown_out: Duration::from_secs(15),
            cooldown_in: Duration::from_secs(60),
            short_for: Duration::from_secs(3),
        }
    }
}

/// A service as it is seen at one moment.
#[derive(Clone, Debug, Default)]
pub struct Situation<'a> {
    /// When that is.
    pub now: Moment,
    /// The samples of each instance that serves.
    pub ready: Vec<&'a [Sample]>,
    /// Instances on their way: made or restarted lately and not ready yet.
    pub starting: u32,
    /// How many of these do not run yet.
    pub unstarted: u32,
    /// Instances made by others to take the place of one that is counted still; they count when
    /// that one has ended.
    pub replacing: u32,
    /// Instances that run and do not serve: unwell, or not ready for longer than a start takes.
    pub unready: u32,
    /// The samples of those of them that are only unhealthy, maybe of too much load.
    pub unhealthy: Vec<&'a [Sample]>,
    /// Instances that drain; they count no more.
    pub leaving: u32,
    /// How many there should be, by what was decided before.
    pub wanted: u32,
    /// Since when there are fewer than that, and nobody seems to be about to mend it.
    pub short_since: Option<Moment>,
    /// When instances were last added.
    pub last_out: Option<Moment>,
    /// When anything was last done, or this process began.
    pub last_action: Option<Moment>,
}

impl Situation<'_> {
    /// How many instances there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.ready.len() as u32 + self.starting + self.unready
    }

    /// How many of them run. Only of these can there be too many: what was made and not started is
    /// in the hands of whoever made it.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.total().saturating_sub(self.unstarted)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Hold,
    /// So many more.
    Out(u32),
    /// So many fewer.
    In(u32),
}

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What.
    pub act: Act,
    /// Why.
    pub reason: Reason,
    /// The average over the ready instances, or over those and the unhealthy ones where that is
    /// more, those unknown taken as idle; `None` when none is known.
    pub cpu: Option<f64>,
}

/// Why. Shown as part of a sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each says itself in `Display` below")]
pub enum Reason {
    Short { total: u32, wanted: u32 },
    ShortJustNow { total: u32, wanted: u32 },
    TooMany { total: u32, most: u32 },
    Draining { leaving: u32 },
    Replacing { replacing: u32 },
    NoneReady,
    Above { cpu: f64, max_cpu: f64 },
    AboveAtMost { cpu: f64, most: u32 },
    AboveButStarting { cpu: f64, starting: u32 },
    AboveButCooling { cpu: f64 },
    Below { cpu: f64, min_cpu: f64 },
    BelowAtLeast { cpu: f64, least: u32 },
    BelowButNotReady { cpu: f64 },
    BelowButUnknown { cpu: f64 },
    BelowButCooling { cpu: f64 },
    BelowButRestWouldRise { cpu: f64, rest: f64 },
    Unknown,
    Within { cpu: f64 },
}

/// What is to be done about a service that keeps to `rule`.
#[must_use]
pub fn decide(rule: &Rule, pace: &Pace, seen: &Situation<'_>) -> Decision {
    let load = Load::of(seen, pace.window);
    let (act, reason) = bounds(rule, pace, seen)
        .or_else(|| too_hot(rule, pace, seen, &load))
        .or_else(|| too_cold(rule, pace, seen, &load))
        .unwrap_or(match load.cpu {
            None if seen.ready.is_empty() => (Act::Hold, Reason::NoneReady),
            None => (Act::Hold, Reason::Unknown),
            Some(cpu) => (Act::Hold, Reason::Within { cpu }),
        });
    Decision {
        act,
        reason,
        cpu: load.cpu,
    }
}

/// What the instances do.
struct Load {
    /// What [`Decision::cpu`] tells.
    cpu: Option<f64>,
    /// The sum of the ready ones.
    sum: f64,
    /// Whether all of the window is known of every one.
    whole: bool,
}

impl Load {
    fn of(seen: &Situation<'_>, window: Duration) -> Self {
        let mut load = Self {
            cpu: None,
            sum: 0.0,
            whole: true,
        };
        let known = |samples| {
            let average = average(samples, seen.now, window);
            average.filter(|it| it.covered >= KNOWN_TO_COUNT)
        };
        for samples in &seen.ready {
            match known(samples) {
                Some(average) => {
                    load.sum += average.cpu;
                    load.whole &= average.covered >= KNOWN_TO_SHRINK;
                    load.cpu = Some(load.sum / seen.ready.len() as f64);
                }
                None => load.whole = false,
            }
        }
        // The hottest must not leave the average for being too hot to answer; nor may one that
        // hangs idle make the rest look cooler than they are.
        let unhealthy: Vec<_> = seen.unhealthy.iter().filter_map(|it| known(it)).collect();
        if !unhealthy.is_empty() {
            let sum = load.sum + unhealthy.iter().map(|it| it.cpu).sum::<f64>();
            let all = sum / (seen.ready.len() + seen.unhealthy.len()) as f64;
            load.cpu = Some(load.cpu.map_or(all, |ready| ready.max(all)));
        }
        load
    }
}

/// What follows from numbers alone.
fn bounds(rule: &Rule, pace: &Pace, seen: &Situation<'_>) -> Option<(Act, Reason)> {
    let total = seen.total();
    let wanted = seen.wanted.clamp(rule.min_instances, rule.max_instances);
    if total < wanted {
        let long = |since| seen.now.since(since) >= pace.short_for;
        return Some(if seen.short_since.is_some_and(long) {
            (Act::Out(wanted - total), Reason::Short { total, wanted })
        } else {
            (Act::Hold, Reason::ShortJustNow { total, wanted })
        });
    }
    let (running, most) = (seen.running(), rule.max_instances);
    if running > most {
        let total = running;
        return Some(match (seen.replacing, seen.leaving) {
            (0, 0) => (Act::In(running - most), Reason::TooMany { total, most }),
            (0, leaving) => (Act::Hold, Reason::Draining { leaving }),
            (replacing, _) => (Act::Hold, Reason::Replacing { replacing }),
        });
    }
    None
}

/// What follows from too much CPU in use.
fn too_hot(rule: &Rule, pace: &Pace, seen: &Situation<'_>, load: &Load) -> Option<(Act, Reason)> {
    let cpu = load.cpu.filter(|&cpu| cpu > rule.max_cpu)?;
    let (total, most) = (seen.total(), rule.max_instances);
    let cooling = |at: Moment| seen.now.since(at) < pace.cooldown_out;
    Some(if total >= most {
        (Act::Hold, Reason::AboveAtMost { cpu, most })
    } else if seen.starting > 0 {
        let starting = seen.starting;
        (Act::Hold, Reason::AboveButStarting { cpu, starting })
    } else if seen.last_out.is_some_and(cooling) {
        (Act::Hold, Reason::AboveButCooling { cpu })
    } else {
        let max_cpu = rule.max_cpu;
        let more = rule.step.min(most - total);
        (Act::Out(more), Reason::Above { cpu, max_cpu })
    })
}

/// What follows from too little CPU in use.
fn too_cold(rule: &Rule, pace: &Pace, seen: &Situation<'_>, load: &Load) -> Option<(Act, Reason)> {
    let cpu = load.cpu.filter(|&cpu| cpu < rule.min_cpu)?;
    let (total, least) = (seen.total(), rule.min_instances);
    let cooling = |at: Moment| seen.now.since(at) < pace.cooldown_in.max(pace.window);
    let hold = if total <= least {
        Reason::BelowAtLeast { cpu, least }
    } else if seen.leaving > 0 {
        let leaving = seen.leaving;
        Reason::Draining { leaving }
    } else if seen.replacing > 0 {
        let replacing = seen.replacing;
        Reason::Replacing { replacing }
    } else if seen.starting + seen.unready > 0 {
        // What does not serve now leaves its load to the others, or takes it back in a moment.
        Reason::BelowButNotReady { cpu }
    } else if !load.whole {
        Reason::BelowButUnknown { cpu }
    } else if seen.last_action.is_some_and(cooling) {
        Reason::BelowButCooling { cpu }
    } else {
        let ready = seen.ready.len() as u32;
        // All are ready here, and at least the least stay.
        let rest = |fewer: u32| load.sum / f64::from(ready - fewer);
        let fits = |&fewer: &u32| rest(fewer) < rule.max_cpu * HEADROOM;
        let most = rule.step.min(total - least);
        if let Some(fewer) = (1..=most).rev().find(fits) {
            let min_cpu = rule.min_cpu;
            return Some((Act::In(fewer), Reason::Below { cpu, min_cpu }));
        }
        let rest = rest(1);
        Reason::BelowButRestWouldRise { cpu, rest }
    };
    Some((Act::Hold, hold))
}

impl Reason {
    /// Whether this says the same as `other`, whatever the figures: what is held for the same
    /// reason is said once.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { total, wanted } => write!(f, "{total} of {wanted} are there"),
            Self::ShortJustNow { total, wanted } => {
                write!(f, "{total} of {wanted} are there, for a moment only so far")
            }
            Self::TooMany { total, most } => write!(f, "{total} are more than the {most} allowed"),
            Self::Draining { leaving } => write!(f, "{leaving} still drain"),
            Self::Replacing { replacing } => write!(f, "{replacing} are being replaced"),
            Self::NoneReady => write!(f, "none is ready"),
            Self::Above { cpu, max_cpu } => write!(f, "CPU {cpu:.0} % is above {max_cpu} %"),
            Self::AboveAtMost { cpu, most } => {
                write!(
                    f,
                    "CPU {cpu:.0} % is too much, but {most} are the most allowed"
                )
            }
            Self::AboveButStarting { cpu, starting } => {
                write!(f, "CPU {cpu:.0} % is too much, but {starting} still start")
            }
            Self::AboveButCooling { cpu } => {
                write!(f, "CPU {cpu:.0} % is too much, but some were just added")
            }
            Self::Below { cpu, min_cpu } => write!(f, "CPU {cpu:.0} % is below {min_cpu} %"),
            Self::BelowAtLeast { cpu, least } => {
                write!(
                    f,
                    "CPU {cpu:.0} % is little, but {least} are the least allowed"
                )
            }
            Self::BelowButNotReady { cpu } => {
                write!(f, "CPU {cpu:.0} % is little, but not all are ready")
            }
            Self::BelowButUnknown { cpu } => {
                write!(f, "CPU {cpu:.0} % is little, but not all of it is known")
            }
            Self::BelowButCooling { cpu } => {
                write!(f, "CPU {cpu:.0} % is little, but not for long enough")
            }
            Self::BelowButRestWouldRise { cpu, rest } => {
                write!(
                    f,
                    "CPU {cpu:.0} % is little, but fewer would be at {rest:.0} %"
                )
            }
            Self::Unknown => write!(f, "the use of CPU is not known yet"),
            Self::Within { cpu } => write!(f, "CPU {cpu:.0} % is within the thresholds"),
        }
    }
}
