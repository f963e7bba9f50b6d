//! Sends a batch until it is taken, in parts where it is not taken whole.

use std::time::{Duration, Instant};

use engine::Event;
use sinks::{Answered, Taken};

use super::input::Mark;
use super::target::Target;

/// The first wait before a batch is sent again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What became of a part of a batch.
pub(crate) struct Sent {
    pub(crate) taken: Taken,
    /// Events that nobody takes, and why.
    pub(crate) rejected: Vec<(Mark, String)>,
}

/// See the module's description.
pub(crate) struct Sender {
    target: Target,
    patience: Duration,
    /// An answer came, so the address is right.
    heard: bool,
}

impl Sender {
    pub(crate) fn new(target: Target, patience: Duration) -> Self {
        Self { target, patience, heard: false }
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// Why no more can be sent: what was sent before is safe.
    pub(crate) async fn send(&mut self, batch: Vec<(Event, Mark)>) -> Result<Vec<Sent>, String> {
        let (events, marks): (Vec<Event>, Vec<Mark>) = batch.into_iter().unzip();
        // Parts that are still to be sent, the next one last.
        let mut parts = Vec::from([(0, events.len())]);
        let mut sent = Vec::new();
        while let Some((start, end)) = parts.pop() {
            match self.insist(&events[start..end]).await? {
                Ok(mut taken) => {
                    let rejected = std::mem::take(&mut taken.rejected).into_iter();
                    let rejected = rejected.map(|one| (marks[start + one.index].clone(), one.error)).collect();
                    sent.push(Sent { taken, rejected });
                }
                Err(why) if end - start == 1 => {
                    let rejected = vec![(marks[start].clone(), why)];
                    sent.push(Sent { taken: Taken::default(), rejected });
                }
                Err(_) => {
                    let middle = start.midpoint(end);
                    parts.extend([(middle, end), (start, middle)]);
                }
            }
        }
        Ok(sent)
    }

    /// Sends these until they are taken or refused; the inner error says why they are refused.
    async fn insist(&mut self, events: &[Event]) -> Result<Result<Taken, String>, String> {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let (asked, why) = match self.target.send(events).await {
                Answered::Taken(taken) => {
                    self.heard = true;
                    return Ok(Ok(taken));
                }
                Answered::Refused(why) => {
                    self.heard = true;
                    return Ok(Err(why));
                }
                Answered::Denied(why) => return Err(format!("{} answers {why}", self.target)),
                Answered::Unheard(why) if !self.heard => {
                    return Err(format!("no answer from {}: {why}; is openclaw-trace running?", self.target));
                }
                Answered::Unheard(why) => (None, why),
                Answered::Later { wait, why } => {
                    self.heard = true;
                    (wait, why)
                }
            };
            let pause = wait.max(asked.unwrap_or_default());
            if began.elapsed() + pause > self.patience {
                return Err(format!(
                    "{} takes nothing for {}: {why}; replay the same again later, nothing is doubled (--patience waits longer)",
                    self.target,
                    crate::text::duration(self.patience.as_secs_f64() * 1000.0),
                ));
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Closes what was opened.
    ///
    /// # Errors
    /// What was not made safe.
    pub(crate) async fn close(self) -> Result<(), String> {
        self.target.close().await
    }
}
