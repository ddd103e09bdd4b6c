//! Long polls that give way: the service answers early when it has too many who wait, and to
//! ask again at once would only make it throttle calls.

use std::time::Duration;

use tokio::time::Instant;

use super::{Client, MnsError, model::Message};

/// The first pause after a poll that ended early; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// One who waits for the messages of a queue, again and again.
pub struct LongPoll<'a> {
    client: &'a Client,
    queue: &'a str,
    wait: Duration,
    /// To be kept before the next poll.
    pause: Duration,
}

impl<'a> LongPoll<'a> {
    /// Waits up to `wait` (whole seconds, 1 to 30) in each poll of `queue`.
    #[must_use]
    pub fn new(client: &'a Client, queue: &'a str, wait: Duration) -> Self {
        Self {
            client,
            queue,
            wait,
            pause: Duration::ZERO,
        }
    }

    /// Up to `number` (1 to 16) messages; none when the wait was in vain. Keeps a pause before
    /// it polls when the last poll ended early without any.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub async fn next(&mut self, number: usize) -> Result<Vec<Message>, MnsError> {
        tokio::time::sleep(self.pause).await;
        let begun = Instant::now();
        let polled = self.client.receive(self.queue, number, self.wait).await;
        let in_vain = polled.as_ref().is_ok_and(Vec::is_empty);
        let early = in_vain && begun.elapsed() < self.wait / 2;
        let throttled = polled.as_ref().is_err_and(MnsError::is_throttled);
        self.pause = match early || throttled {
            true => (self.pause * 2).clamp(PAUSE, self.wait.max(PAUSE)),
            false => Duration::ZERO,
        };
        polled
    }
}
