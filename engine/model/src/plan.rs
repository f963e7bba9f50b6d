//! What an execution of the model consists of, and how executions are looked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A client of the source, and what it does when it is not heard.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its batches, each a list of the events in it. An event that stands in several is sent again.
    pub batches: Vec<Vec<u8>>,
    /// How it sends.
    pub manner: Manner,
}

/// How a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Sends again, the same events, until they are stored; then once more.
    Insists,
    /// Waits for credits, and insists where the commit failed.
    Waits,
    /// Is answered "queued" and does not ask again.
    IsToldQueued,
    /// Waits for credits or for the answer, and is gone before it comes.
    Leaves,
}

/// When the stop comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// When all clients are done.
    AtTheEnd,
    /// At any moment.
    AtAnyMoment,
    /// At any moment, and the end of `drain_timeout` at any moment after that.
    WithDeadline,
}

/// What runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who sends what.
    pub clients: Vec<Client>,
    /// The in-flight budget, in events.
    pub max_events: usize,
    /// How many sinks there are behind the one source.
    pub sinks: usize,
    /// How many commits may fail, over all sinks.
    pub failures: usize,
    /// How many reloads come, each at any moment: the sinks, and the transform behind the source, are exchanged for
    /// others of the same disks, or are to be and cannot be opened.
    pub reloads: usize,
    /// When the stop comes.
    pub stop: Stop,
    /// A write of the first sink never returns.
    pub hangs: bool,
    /// A mistake of the sink: it confirms before it commits.
    pub confirms_first: bool,
}

impl Plan {
    /// Two clients that insist, one of which sends an event of the other, a budget that holds only
    /// one of their batches, one sink, one failing commit.
    #[must_use]
    pub fn small() -> Self {
        let client = |batches: &[&[u8]]| Client {
            batches: batches.iter().map(|batch| batch.to_vec()).collect(),
            manner: Manner::Insists,
        };
        Self {
            clients: vec![client(&[&[1, 2], &[3]]), client(&[&[2, 4]])],
            max_events: 3,
            sinks: 1,
            failures: 1,
            reloads: 0,
            stop: Stop::AtTheEnd,
            hangs: false,
            confirms_first: false,
        }
    }

    /// All kinds of clients, two sinks.
    #[must_use]
    pub fn wide() -> Self {
        let client = |manner, batches: &[&[u8]]| Client {
            batches: batches.iter().map(|batch| batch.to_vec()).collect(),
            manner,
        };
        Self {
            clients: vec![
                client(Manner::Insists, &[&[1, 2], &[3]]),
                client(Manner::Waits, &[&[2, 4], &[5]]),
                client(Manner::IsToldQueued, &[&[6], &[7, 1]]),
                client(Manner::Leaves, &[&[8, 9]]),
            ],
            max_events: 4,
            sinks: 2,
            failures: 3,
            ..Self::small()
        }
    }
}

/// How executions are looked for.
#[derive(Debug, Clone, Copy)]
pub enum Search {
    /// At random: any task that can go on may be next.
    Random {
        /// What the choices come from.
        seed: u64,
        /// How many executions.
        executions: usize,
    },
    /// By priorities that change a few times (PCT): finds what needs few but unlikely switches.
    Priorities {
        /// What the choices come from.
        seed: u64,
        /// How many executions.
        executions: usize,
        /// How many switches matter.
        depth: usize,
    },
    /// All there are.
    Every,
}

/// What the executions of a search met: says whether the search went where it should.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Tally {
    /// Counts one.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// How often.
    #[must_use]
    pub fn of(&self, what: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(what).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, times) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            write!(f, "{what}: {times}; ")?;
        }
        Ok(())
    }
}

/// Runs `execution` as often as the search asks, on a thread of its own.
///
/// # Errors
/// What the first execution that failed said. How to have it again is on standard error: shuttle
/// prints its schedule, and the seed is in the search.
pub fn explore(search: Search, execution: impl Fn() + Send + Sync + 'static) -> Result<usize, String> {
    let mut config = shuttle::Config::new();
    config.stack_size = 512 * 1024;
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    let run = move || match search {
        Search::Random { seed, executions } => {
            let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(seed, executions);
            shuttle::Runner::new(scheduler, config).run(execution)
        }
        Search::Priorities { seed, executions, depth } => {
            let scheduler = shuttle::scheduler::PctScheduler::new_from_seed(seed, depth, executions);
            shuttle::Runner::new(scheduler, config).run(execution)
        }
        Search::Every => {
            shuttle::Runner::new(shuttle::scheduler::DfsScheduler::new(None, false), config).run(execution)
        }
    };
    let thread = std::thread::Builder::new().name(format!("{search:?}"));
    let joined = thread.spawn(run).map_err(|error| error.to_string())?.join();
    joined.map_err(|panic| match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => panic.downcast_ref::<&str>().map_or_else(|| "a panic without words".to_owned(), ToString::to_string),
    })
}
