//! Which instances are taken away whatever the load is: those that are no more, never came to be, or
//! hang.

use tokio_util::task::TaskTracker;

use super::{Look, Service};
use crate::{
    actions::Actor,
    fleet::State,
    window::{Moment, average},
};

impl Service {
    /// Removes what has ended in an orderly way and is missed by nobody: it was on its way out when
    /// a scaler was killed.
    pub(super) fn tidy(&mut self, look: &Look<'_>, actor: &Actor, tasks: &TaskTracker) {
        let kept_for = look.patience.ended_kept_for;
        let is_whole = |since: Moment| look.now.since(since) >= kept_for;
        let is_idle = self.growing.is_empty() && self.leaving.is_empty();
        if look.dry_run || !is_idle || !self.whole_since.is_some_and(is_whole) {
            return;
        }
        for instance in &look.instances {
            if instance.state == State::Down(0) && self.is_so_for(instance, kept_for, look.now) {
                self.leaving.insert(instance.id.clone());
                tasks.spawn(actor.clone().drain(instance.clone(), None));
            }
        }
    }

    /// Removes what this program has made and not come to start: it was killed in between, or
    /// Docker finished what it was no longer waited for. It may lack a network.
    pub(super) fn clear_half_made(&mut self, look: &Look<'_>, actor: &Actor, tasks: &TaskTracker) {
        let kept_for = look.patience.half_made_kept_for;
        for instance in &look.instances {
            if self.is_leftover(instance)
                && self.is_so_for(instance, kept_for, look.now)
                && !look.dry_run
                && self.leaving.insert(instance.id.clone())
            {
                tasks.spawn(actor.clone().drain(instance.clone(), None));
            }
        }
    }

    /// Takes one away that has been unhealthy for long while others serve; it is missed then, and
    /// another is made. One that has too much to do is unhealthy, too, and does what it can. One at
    /// a time, and none while none serves: then it is not the containers' fault.
    pub(super) fn dismiss_stuck(&mut self, look: &Look<'_>, actor: &Actor, tasks: &TaskTracker) {
        let is_idle = self.growing.is_empty() && self.leaving.is_empty();
        let others_serve = look.instances.iter().any(|it| it.state == State::Ready);
        if look.dry_run || !is_idle || !others_serve {
            return;
        }
        let kept_for = look.patience.unhealthy_kept_for;
        let max_cpu = self.wish.rule.max_cpu;
        let stuck = look.instances.iter().find(|it| {
            let history = self.histories.get_mut(&it.id);
            let used = history.and_then(|it| average(it.samples(), look.now, look.pace.window));
            it.state == State::Unhealthy
                && self.is_so_for(it, kept_for, look.now)
                && used.is_none_or(|used| used.cpu <= max_cpu)
        });
        let Some(stuck) = stuck else { return };
        let (project, service) = (&actor.service.project, &actor.service.service);
        let container = &stuck.name;
        tracing::warn!(
            project,
            service,
            container,
            "unhealthy for long; replacing it"
        );
        self.leaving.insert(stuck.id.clone());
        let sibling = (look.siblings)(&stuck.id).cloned();
        tasks.spawn(actor.clone().drain(stuck.clone(), sibling));
    }
}
