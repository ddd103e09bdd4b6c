//! One service between two looks: what it is to have, what its containers used, what is under way.

mod clearing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use metrics::{counter, gauge};
use tokio_util::task::TaskTracker;

use crate::{
    actions::{Actor, More},
    copy::Sibling,
    fleet::{CONFIG_HASH, Instance, State},
    labels::Wish,
    patience::Patience,
    rule::{Act, Decision, Pace, Reason, Situation, decide},
    scaler::mending::{Fate, Mending},
    window::{History, Moment, Reading},
};

/// What one look has seen of a service.
pub(super) struct Look<'a> {
    pub(super) now: Moment,
    /// The wall clock, in seconds since the epoch.
    pub(super) wall_seconds: i64,
    pub(super) pace: Pace,
    pub(super) patience: Patience,
    pub(super) dry_run: bool,
    pub(super) instances: Vec<Instance>,
    /// What the counters of ready containers said, by id.
    pub(super) readings: &'a HashMap<String, Reading>,
    /// What is known of a container's settings, by id.
    pub(super) siblings: &'a dyn Fn(&str) -> Option<&'a Sibling>,
}

/// One service.
pub(super) struct Service {
    wish: Wish,
    /// How many instances there are to be.
    wanted: u32,
    /// What the ready ones used, by id.
    histories: BTreeMap<String, History>,
    /// How each is, and since when, by id.
    states: BTreeMap<String, (State, Moment)>,
    /// To be copied when no instance is left.
    remembered: Option<Sibling>,
    /// Stopped containers that did not start.
    broken: BTreeSet<String>,
    /// Instances that are being added.
    growing: Vec<More>,
    /// Whether those were asked for by load, not by loss.
    growing_for_load: bool,
    mending: Mending,
    /// Containers that drain, by id.
    leaving: BTreeSet<String>,
    last_out: Option<Moment>,
    last_action: Option<Moment>,
    short_since: Option<Moment>,
    whole_since: Option<Moment>,
    more_since: Option<Moment>,
    said: Option<(Act, Reason, Moment)>,
}

/// Instances that do not serve, or are yet to come.
#[derive(Default)]
struct NotReady {
    starting: u32,
    unstarted: u32,
    replacing: u32,
    unready: u32,
}

/// The newest instance, those that run before those that do not: what it says counts for all.
pub(super) fn newest(instances: &[Instance]) -> Option<&Instance> {
    let there = instances.iter().filter(|it| it.state != State::Gone);
    there.max_by_key(|it| (it.state.is_up(), it.created, it.number))
}

/// The instance to make others like: the newest that serves, or has at least been started once.
/// One that never was may lack a network that it is still to be connected to.
fn model(instances: &[Instance]) -> Option<&Instance> {
    let has_run = |it: &&Instance| !matches!(it.state, State::Made | State::Gone);
    let worth = |it: &Instance| (it.state == State::Ready, it.state.is_up());
    let there = instances.iter().filter(has_run);
    there.max_by_key(|it| (worth(it), it.created, it.number))
}

impl Service {
    /// A service at its first look.
    pub(super) fn first_seen(wish: &Wish, look: &Look<'_>) -> Self {
        // What has died while nobody looked is missed; what has ended well was meant to.
        let counts = |it: &&Instance| {
            let is_gone = matches!(it.state, State::Gone | State::Down(0));
            !is_gone && !it.is_half_made_by_us() && !it.replaces_one_of(&look.instances)
        };
        let there = look.instances.iter().filter(counts).count() as u32;
        let ages = look.instances.iter();
        let ages = ages.map(|it| u64::try_from(look.wall_seconds - it.created).unwrap_or(0));
        let (youngest, oldest) = (ages.clone().min(), ages.max());
        let is_new =
            oldest.is_some_and(|age| Duration::from_secs(age) < look.patience.brought_up_within);
        let scale = wish.scale.filter(|_| is_new).unwrap_or(0);
        let youngest = youngest.map(Duration::from_secs);
        Self {
            wish: wish.clone(),
            wanted: there.max(scale),
            histories: BTreeMap::new(),
            states: BTreeMap::new(),
            remembered: None,
            broken: BTreeSet::new(),
            growing: Vec::new(),
            growing_for_load: false,
            mending: Mending::new(look.pace.short_for),
            leaving: BTreeSet::new(),
            // Whoever made the youngest, it was the last to be added.
            last_out: youngest.map(|age| look.now.before(age)),
            last_action: Some(look.now),
            short_since: None,
            whole_since: None,
            more_since: None,
            said: None,
        }
    }

    /// What it asked for last.
    pub(super) const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Instances were added, but for `failed`.
    pub(super) fn grown(&mut self, failed: u32, broken: Vec<String>) {
        if self.growing_for_load {
            // More is a wish that load renews; what was lost stays missed.
            self.wanted = self.wanted.saturating_sub(failed);
        }
        self.growing.clear();
        self.broken.extend(broken);
    }

    /// A container has left.
    pub(super) fn left(&mut self, id: &str) {
        self.leaving.remove(id);
    }

    /// Looks, decides, acts.
    pub(super) fn look(&mut self, wish: &Wish, look: Look<'_>, actor: &Actor, tasks: &TaskTracker) {
        self.wish = wish.clone();
        self.remember(&look);
        let here = |it: &Instance| !self.leaving.contains(&it.id);
        let staying: Vec<_> = look.instances.iter().filter(|it| here(it)).collect();
        let not_ready = self.not_ready_of(&staying, &look);
        let ready = staying.iter().filter(|it| it.state == State::Ready).count();
        let total = ready as u32 + not_ready.starting + not_ready.unready;
        self.follow(&staying, total, &look);
        self.note_mended(&look);

        let mut histories = std::mem::take(&mut self.histories);
        let samples = histories.iter_mut();
        let known: BTreeMap<_, _> = samples.map(|(id, it)| (&**id, it.samples())).collect();
        let samples_of = |state| {
            let them = staying.iter().filter(|it| it.state == state);
            let samples = them.map(|it| known.get(&*it.id).map_or(&[][..], |samples| samples));
            samples.collect()
        };
        let seen = Situation {
            now: look.now,
            ready: samples_of(State::Ready),
            unhealthy: samples_of(State::Unhealthy),
            starting: not_ready.starting,
            unstarted: not_ready.unstarted,
            replacing: not_ready.replacing,
            unready: not_ready.unready,
            leaving: self.leaving.len() as u32,
            wanted: self.wanted,
            short_since: self.short_since,
            last_out: self.last_out,
            last_action: self.last_action,
        };
        let decision = decide(&self.wish.rule, &look.pace, &seen);
        self.show(&seen, &decision, &look, actor);
        self.histories = histories;
        self.tidy(&look, actor, tasks);
        self.clear_half_made(&look, actor, tasks);
        self.dismiss_stuck(&look, actor, tasks);
        self.follow_up(decision, total, &look, actor, tasks);
    }

    /// Whether this program made it, and does not come to start it any more.
    fn is_leftover(&self, instance: &Instance) -> bool {
        instance.is_half_made_by_us() && !self.growing.iter().any(|more| more.is(instance))
    }

    /// Notes what the containers used, and what to copy.
    fn remember(&mut self, look: &Look<'_>) {
        let present: BTreeSet<_> = look.instances.iter().map(|it| &*it.id).collect();
        self.histories.retain(|id, _| present.contains(&**id));
        self.states.retain(|id, _| present.contains(&**id));
        self.broken.retain(|id| present.contains(&**id));
        if let Some(sibling) = model(&look.instances).and_then(|it| (look.siblings)(&it.id)) {
            self.remembered = Some(sibling.clone());
        }
        for instance in &look.instances {
            let state = self.states.entry(instance.id.clone());
            let state = state.or_insert((instance.state, look.now));
            if state.0 != instance.state {
                *state = (instance.state, look.now);
            }
            let history = self.histories.entry(instance.id.clone()).or_default();
            if !instance.state.is_measured() {
                // What a start costs says nothing of the load.
                history.clear();
            } else if let Some(reading) = look.readings.get(&instance.id)
                && let Some(sibling) = (look.siblings)(&instance.id)
            {
                history.add(*reading, sibling.cpus(), look.pace.window);
            }
        }
    }

    /// How many start, those that are being added included, and how many run without being
    /// ready.
    fn not_ready_of(&self, staying: &[&Instance], look: &Look<'_>) -> NotReady {
        let up = |it: &&&Instance| !matches!(it.state, State::Down(_) | State::Gone);
        let is_there = |more: &&More| staying.iter().filter(up).any(|it| more.is(it));
        let to_come = self.growing.iter().filter(|more| !is_there(more));
        let to_come = to_come.count() as u32;
        let mut counted = NotReady {
            starting: to_come,
            unstarted: to_come,
            ..NotReady::default()
        };
        let patience = look.patience;
        let is_so_for = |it: &Instance, long| self.is_so_for(it, long, look.now);
        for instance in staying {
            match instance.state {
                State::Starting if !is_so_for(instance, patience.starts_within) => {
                    counted.starting += 1;
                }
                State::Starting | State::Unhealthy | State::Unwell => counted.unready += 1,
                // What nobody comes to start is none.
                State::Made if self.is_leftover(instance) => {}
                State::Made if is_so_for(instance, patience.made_left_for) => {}
                State::Made if instance.replaces_one_of(staying.iter().copied()) => {
                    counted.replacing += 1;
                }
                State::Made => {
                    counted.starting += 1;
                    counted.unstarted += 1;
                }
                State::Ready | State::Down(_) | State::Gone => {}
            }
        }
        counted
    }

    /// Whether a container has been as it is for `long`.
    fn is_so_for(&self, instance: &Instance, long: Duration, now: Moment) -> bool {
        let since = self.states.get(&instance.id);
        since.is_some_and(|(_, since)| now.since(*since) >= long)
    }

    /// Follows what others do to the number of instances, and notes what is missing.
    fn follow(&mut self, staying: &[&Instance], total: u32, look: &Look<'_>) {
        let (now, patience) = (look.now, look.patience);
        let running = staying.iter().filter(|it| it.state.is_up()).count() as u32;
        let left_alone = |it: &&&Instance| {
            it.state == State::Down(0) && !self.is_so_for(it, patience.ended_left_for, now)
        };
        let left_alone = staying.iter().filter(left_alone).count() as u32;
        let rule = &self.wish.rule;
        self.wanted = self.wanted.clamp(rule.min_instances, rule.max_instances);
        if running > self.wanted && self.growing.is_empty() && self.leaving.is_empty() {
            if self.more_since.is_none() {
                // Somebody expects a load: it is given as long to come as after a change of ours.
                self.last_action = Some(now);
            }
            let since = *self.more_since.get_or_insert(now);
            if now.since(since) >= patience.followed_after {
                self.wanted = running.min(rule.max_instances);
            }
        } else {
            self.more_since = None;
        }
        if total < self.wanted {
            self.whole_since = None;
            if total + left_alone < self.wanted {
                self.short_since.get_or_insert(now);
            } else {
                self.short_since = None;
            }
        } else {
            self.short_since = None;
            let since = *self.whole_since.get_or_insert(now);
            if now.since(since) >= patience.mended_after {
                self.mending.begin_anew();
            }
        }
    }

    /// Sees whether what was added for a loss holds.
    fn note_mended(&mut self, look: &Look<'_>) {
        let mut mending = std::mem::replace(&mut self.mending, Mending::new(look.pace.short_for));
        let holds_after = look.patience.holds_after;
        let fate = |more: &More| match look.instances.iter().find(|it| more.is(it)) {
            Some(it) if self.leaving.contains(&it.id) => Fate::Dismissed,
            Some(it) if it.state == State::Ready && self.is_so_for(it, holds_after, look.now) => {
                Fate::Holds
            }
            Some(it) if it.state.is_up() => Fate::Open,
            // It is being added still.
            _ if !self.growing.is_empty() => Fate::Open,
            _ => Fate::Lost,
        };
        mending.note(look.now, look.patience.tried_again_within, fate);
        self.mending = mending;
    }

    /// Says what was decided, where it is new, and counts it.
    fn show(&mut self, seen: &Situation<'_>, decision: &Decision, look: &Look<'_>, actor: &Actor) {
        let name = &actor.service;
        let labels = [
            ("project", name.project.clone()),
            ("service", name.service.clone()),
        ];
        gauge!("hongbao_autoscale_instances", &labels).set(f64::from(seen.total()));
        gauge!("hongbao_autoscale_ready", &labels).set(seen.ready.len() as f64);
        gauge!("hongbao_autoscale_wanted", &labels).set(f64::from(self.wanted));
        gauge!("hongbao_autoscale_cpu_percent", &labels).set(decision.cpu.unwrap_or(f64::NAN));
        let kind = match decision.act {
            Act::Hold => "hold",
            Act::Out(_) => "out",
            Act::In(_) => "in",
        };
        counter!("hongbao_autoscale_decisions_total",
            "project" => name.project.clone(), "service" => name.service.clone(),
            "decision" => kind)
        .increment(1);
        if decision.act != Act::Hold {
            return;
        }
        let is_new = self.said.as_ref().is_none_or(|(act, reason, at)| {
            let quiet = seen.now.since(*at) >= look.patience.holds_said_every || *act != Act::Hold;
            quiet && !(*act == Act::Hold && reason.is_like(&decision.reason))
        });
        if is_new {
            let (project, service) = (&name.project, &name.service);
            let instances = seen.total();
            tracing::info!(project, service, instances, reason = %decision.reason, "holding");
            self.said = Some((Act::Hold, decision.reason, seen.now));
        }
    }

    /// Does what was decided.
    fn follow_up(
        &mut self,
        decision: Decision,
        total: u32,
        look: &Look<'_>,
        actor: &Actor,
        tasks: &TaskTracker,
    ) {
        let reason = decision.reason;
        // What is lost while others are being added is missed when those are there: two growths at
        // once would know nothing of each other.
        let waits = || self.mending.waits(look.now) || !self.growing.is_empty();
        if decision.act == Act::Hold || matches!(reason, Reason::Short { .. }) && waits() {
            return;
        }
        let is_repeated = self.said.as_ref().is_some_and(|(act, said, _)| {
            look.dry_run && *act == decision.act && said.is_like(&reason)
        });
        if !is_repeated {
            let (what, by) = match (decision.act, look.dry_run) {
                (Act::Out(more), false) => ("scaling out", more),
                (Act::Out(more), true) => ("would scale out", more),
                (Act::In(fewer), false) => ("scaling in", fewer),
                (Act::In(fewer), true) => ("would scale in", fewer),
                (Act::Hold, _) => ("holding", 0),
            };
            let (project, service) = (&actor.service.project, &actor.service.service);
            let instances = total;
            tracing::info!(project, service, instances, by, %reason, "{what}");
        }
        self.said = Some((decision.act, reason, look.now));
        self.last_action = Some(look.now);
        match decision.act {
            Act::Out(more) => {
                self.last_out = Some(look.now);
                if !look.dry_run {
                    let for_load = matches!(reason, Reason::Above { .. });
                    self.grow(more, for_load, total, look, actor, tasks);
                }
            }
            Act::In(fewer) if !look.dry_run => self.shrink(fewer, total, look, actor, tasks),
            Act::In(_) | Act::Hold => {}
        }
    }

    /// Adds instances: those that stand stopped first, then new ones.
    fn grow(
        &mut self,
        add: u32,
        for_load: bool,
        total: u32,
        look: &Look<'_>,
        actor: &Actor,
        tasks: &TaskTracker,
    ) {
        let Some(sibling) = self.remembered.clone() else {
            let (project, service) = (&actor.service.project, &actor.service.service);
            tracing::error!(
                project,
                service,
                "there is no container to copy that was ever started"
            );
            let longest = look.patience.tried_again_within;
            self.mending.in_vain(look.now, longest);
            return;
        };
        let newest = newest(&look.instances);
        let made_of = |it: &Instance| it.labels.get(CONFIG_HASH).cloned();
        // Compose replaces one whose number another has, too.
        let is_other = |it: &Instance, other: &Instance| {
            other.number == it.number && other.id != it.id && other.state != State::Gone
        };
        let stopped = look.instances.iter().filter(|it| {
            let idle = matches!(it.state, State::Down(_))
                && !look.instances.iter().any(|other| is_other(it, other));
            let alike = newest.is_some_and(|newest| made_of(newest) == made_of(it));
            idle && alike && !self.broken.contains(&it.id) && !self.leaving.contains(&it.id)
        });
        let last = look.instances.iter().map(|it| it.number).max();
        let fresh = (last.unwrap_or(0).saturating_add(1)..).map(More::Make);
        let more = stopped.cloned().map(More::Start).chain(fresh);
        let more: Vec<_> = more.take(add as usize).collect();
        self.growing.clone_from(&more);
        self.growing_for_load = for_load;
        if for_load {
            self.wanted = total + add;
        } else {
            self.mending.add(&more);
        }
        tasks.spawn(actor.clone().grow(sibling, more));
    }

    /// Takes instances away: those that are not ready first, then the youngest.
    fn shrink(
        &mut self,
        remove: u32,
        total: u32,
        look: &Look<'_>,
        actor: &Actor,
        tasks: &TaskTracker,
    ) {
        let here = look
            .instances
            .iter()
            .filter(|it| it.state.is_up() && !self.leaving.contains(&it.id));
        let mut here: Vec<_> = here.collect();
        here.sort_by_key(|it| (it.state == State::Ready, std::cmp::Reverse(it.number)));
        self.wanted = total.saturating_sub(remove);
        for instance in here.into_iter().take(remove as usize) {
            self.leaving.insert(instance.id.clone());
            let sibling = (look.siblings)(&instance.id).cloned();
            tasks.spawn(actor.clone().drain(instance.clone(), sibling));
        }
    }
}
