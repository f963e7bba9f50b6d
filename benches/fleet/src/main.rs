//! Thousands of agents push to one gateway, which is gone for a while in the middle.
//!
//! ```text
//! cargo run --release -p fleet -- [--agents N] [--events N] [--interval S] [--steady S] [--outage S] [--catch-up paced|at_once] [--bin FILE] [--config FILE] [--markdown FILE]
//! ```
//!
//! The agents are the real push (`augmi_push`) over real sockets, with their events in memory instead of SQLite;
//! the gateway is the real binary, with one token for each agent. Times are shortened: the interval of 5 minutes is 5
//! seconds by default, and so are backoff and breaker, so that an outage of a minute stands for one of an hour.
//! Printed: requests a second before, the most after, the time to drain, the gateway's memory; and whether every event
//! that was confirmed is in the gateway's store, once.

mod agent;
mod gateway;
mod options;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use agent::Agent;
use gateway::Gateway;
use options::Options;
use report::Seen;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("fleet: {message}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(&options)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("fleet: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every confirmed event was found once.
async fn run(options: &Options) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut gateway = Gateway::new(options, folder.path())?;
    gateway.start().await?;
    let stop = CancellationToken::new();
    let mut agents = Vec::with_capacity(options.agents);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..options.agents {
        let agent = Arc::new(Agent::new(number));
        let sink = agent::sink(options, number, &gateway.endpoint(), gateway.token(number))?;
        tasks.spawn(sink.run(agent.clone(), stop.clone()));
        tasks.spawn(agent::work(Arc::clone(&agent), options.clone(), stop.clone()));
        agents.push(agent);
    }
    println!("{} agents, {} events each in {:?}", options.agents, options.events, options.interval);

    let mut seen = Seen::default();
    println!("steady for {:?}", options.steady);
    watch(&mut gateway, options.interval * 2, |_| false).await;
    seen.steady = watch(&mut gateway, options.steady, |_| false).await;
    println!("the gateway is killed, and away for {:?}", options.outage);
    seen.costs.push(gateway.kill().await?);
    sleep(options.outage).await;
    gateway.start().await?;
    let back = Instant::now();
    println!("it is back");
    let usual = options.agents * (2 * options.events + 10);
    let waiting = |agents: &[Arc<Agent>]| agents.iter().map(|agent| agent.waiting()).sum::<usize>();
    let mut drained = None;
    seen.after = watch(&mut gateway, options.outage * 3, |_| {
        if drained.is_none() && waiting(&agents) <= usual {
            drained = Some(back.elapsed());
        }
        drained.is_some_and(|at| back.elapsed() > at + 3 * options.interval)
    })
    .await;
    seen.drained = drained;
    // The last push of each, as at an orderly stop.
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| format!("an agent failed: {error}"))?;
    }
    seen.costs.push(gateway.stop().await?);
    seen.added = agents.iter().map(|agent| agent.added()).sum();
    seen.waiting = waiting(&agents);
    let confirmed = agents.iter().flat_map(|agent| agent.confirmed());
    seen.statuses = gateway.statuses();
    (seen.confirmed, seen.missing) = gateway.look_for(confirmed)?;
    seen.print(options);
    if let Some(path) = &options.markdown {
        std::fs::write(path, seen.markdown(options)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(seen.missing == 0 && seen.confirmed + seen.waiting == seen.added)
}

/// Requests of each second for `time`, or until `enough`.
async fn watch(gateway: &mut Gateway, time: Duration, mut enough: impl FnMut(Duration) -> bool) -> Vec<u64> {
    let begin = Instant::now();
    let mut counts = Vec::new();
    let mut before = gateway.requests().await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut last = Instant::now();
    while begin.elapsed() < time && !enough(begin.elapsed()) {
        ticks.tick().await;
        let now = gateway.requests().await;
        // A gateway that is busy may answer late: its count is then of more than a second.
        let seconds = last.elapsed().as_secs_f64().max(0.1);
        last = Instant::now();
        counts.push((now.saturating_sub(before) as f64 / seconds).round() as u64);
        before = now;
    }
    counts
}
