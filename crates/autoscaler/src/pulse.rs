//! Whether the scaler is alive and reaches Docker, for those who ask from outside. Its loop tells
//! it after each look; a loop that hangs or is gone tells nothing, and that shows.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What a look may take beyond the time between two of them, with a Docker that is slow to answer.
const LOOK_WITHIN: Duration = Duration::from_secs(40);
/// So many looks may be missed.
const MISSED_MAX: u32 = 3;

/// What the loop has told last.
#[derive(Debug)]
pub struct Pulse {
    told: Mutex<(Instant, Option<bool>)>,
    alive_for: Duration,
}

/// How the scaler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It looks, and Docker answers.
    Ready,
    /// It looks, and Docker does not answer, or it has not looked yet.
    DockerAway,
    /// It has not looked for too long.
    Stuck,
}

impl Pulse {
    /// Of a loop that begins now and looks each `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            told: Mutex::new((Instant::now(), None)),
            alive_for: interval * MISSED_MAX + LOOK_WITHIN,
        }
    }

    /// It has looked, and Docker answers or does not.
    pub fn looked(&self, docker_answers: bool) {
        let now = (Instant::now(), Some(docker_answers));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// How it is at `now`.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let (at, answers) = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(at) > self.alive_for {
            Health::Stuck
        } else if answers == Some(true) {
            Health::Ready
        } else {
            Health::DockerAway
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_tells_nothing_any_more_is_not_ready() {
        let pulse = Pulse::new(Duration::from_secs(2));
        let in_seconds = |seconds| pulse.health(Instant::now() + Duration::from_secs(seconds));
        assert_eq!(in_seconds(0), Health::DockerAway, "it has not looked yet");
        pulse.looked(true);
        assert_eq!(in_seconds(0), Health::Ready);
        assert_eq!(in_seconds(30), Health::Ready, "a slow look is no death");
        assert_eq!(in_seconds(60), Health::Stuck);
        pulse.looked(false);
        assert_eq!(in_seconds(0), Health::DockerAway);
        assert_eq!(in_seconds(60), Health::Stuck);
    }
}
