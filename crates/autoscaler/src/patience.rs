//! How long the scaler waits for others before it does something itself.

use std::time::Duration;

/// Waits that are no part of the rule. Operators leave them as they are; tests have less time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// An instance that is not ready after this is no longer waited for.
    pub starts_within: Duration,
    /// One that was made and not started is left to who made it for this long: Compose makes all
    /// of a project at once, and starts each when what it depends on is healthy.
    pub made_left_for: Duration,
    /// One that this program made and did not come to start is removed after this.
    pub half_made_kept_for: Duration,
    /// One that has ended in an orderly way is left alone for this long: whoever ended it, as a
    /// deployment does, is about to do more.
    pub ended_left_for: Duration,
    /// One that has ended in an orderly way, and is not missed for this long, is removed.
    pub ended_kept_for: Duration,
    /// One that is unhealthy for this long while others serve, and not for too much load, is
    /// replaced: Docker itself restarts only what has ended.
    pub unhealthy_kept_for: Duration,
    /// More instances than there should be, for this long, are somebody's will.
    pub followed_after: Duration,
    /// A service whose oldest container is younger than this has just been brought up, and begins
    /// with as many as its label says.
    pub brought_up_within: Duration,
    /// An instance that was lost and has been ready again for this long is mended.
    pub holds_after: Duration,
    /// After mending what did not last, the longest wait before the next try.
    pub tried_again_within: Duration,
    /// How long nothing must be missing for the next try to be the first again.
    pub mended_after: Duration,
    /// The least time between two lines that say why nothing is done.
    pub holds_said_every: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            starts_within: Duration::from_secs(60),
            made_left_for: Duration::from_secs(300),
            half_made_kept_for: Duration::from_secs(15),
            ended_left_for: Duration::from_secs(10),
            ended_kept_for: Duration::from_secs(60),
            unhealthy_kept_for: Duration::from_secs(120),
            followed_after: Duration::from_secs(10),
            brought_up_within: Duration::from_secs(120),
            holds_after: Duration::from_secs(3),
            tried_again_within: Duration::from_secs(60),
            mended_after: Duration::from_secs(30),
            holds_said_every: Duration::from_secs(10),
        }
    }
}
