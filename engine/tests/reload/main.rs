//! Reloads: what is kept, what is exchanged and in which order, and what happens where that fails. Time is paused.

#![allow(clippy::unwrap_used, missing_docs)]

mod random;
mod rig;

use std::time::Duration;

use engine::runtime::{ReloadError, RunError};
use engine::*;
use rig::Rig;

const PIPELINE: &str = "
[sources.in]
type = 'tap'
thing = 'port 1'
[transforms.mark]
type = 'mark'
inputs = ['in']
mark = 'a'
[sinks.store]
type = 'shelf'
inputs = ['mark']
thing = 'file 1'
[sinks.push]
type = 'pump'
inputs = ['store']
";

/// A while that is long beside what happens at once, and short beside every deadline.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn stored(duplicates: usize) -> Outcome {
    Outcome::Stored { duplicates }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_keeps_its_instance_and_what_it_remembers() {
    let mut rig = Rig::start(PIPELINE).await;
    rig.send("in", 1).unwrap().outcome().await;
    let before = rig.world.happened();
    let more = format!("{PIPELINE}[sinks.copy]\ntype = 'shelf'\ninputs = ['mark']\nthing = 'file 2'\n");
    let changes = rig.reload(&more).await.unwrap();
    assert_eq!((changes.added, changes.kept.len()), (vec!["sinks.copy".to_owned()], 4));
    assert_eq!(rig.world.happened_since(before.len()), ["copy 1 opens"]);
    // The outlet is the one that the source has had from the begin, and the transform counts on.
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    assert_eq!(rig.world.names("file 1"), ["a1", "a2"]);
    assert_eq!(rig.world.names("file 2"), ["a2"]);

    let changes = rig.reload(&more).await.unwrap();
    assert!(changes.is_none(), "{changes:?}");
    let changes = rig.reload(PIPELINE).await.unwrap();
    assert_eq!(changes.removed, ["sinks.copy"]);
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    assert_eq!(rig.world.names("file 1"), ["a1", "a2", "a3"]);
    assert_eq!(rig.world.names("file 2"), ["a2"]);
    rig.stop().await.unwrap();
    assert_eq!(rig.world.count("in 1 opens"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_transform_takes_over_between_two_batches_and_nothing_else_is_touched() {
    let mut rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    let mut first = rig.send("in", 1).unwrap();
    let before = rig.world.happened().len();
    let changes = rig.reload(&PIPELINE.replace("mark = 'a'", "mark = 'b'")).await.unwrap();
    assert_eq!(changes.changed, ["transforms.mark"]);
    let mut second = rig.send("in", 1).unwrap();
    rig.world.stall("file 1", false);
    assert_eq!((first.outcome().await, second.outcome().await), (stored(0), stored(0)));
    assert_eq!(rig.world.names("file 1"), ["a1", "b1"]);
    assert_eq!(rig.world.happened_since(before), [""; 0]);
    // Another order, other readers: the instances stay.
    let longer = PIPELINE.replace("mark = 'a'", "mark = 'b'").replace("inputs = ['mark']", "inputs = ['last']");
    let longer = format!("{longer}[transforms.last]\ntype = 'mark'\ninputs = ['mark']\nmark = 'z'\n");
    let changes = rig.reload(&longer).await.unwrap();
    assert_eq!((changes.added, changes.rejoined), (vec!["transforms.last".into()], vec!["sinks.store".into()]));
    rig.send("in", 1).unwrap().outcome().await;
    assert_eq!(rig.world.names("file 1")[2], "b2z1");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_the_same_file_answers_all_it_has_before_its_successor_opens_and_nobody_is_refused() {
    let rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    let mut receipts = vec![rig.send("in", 1).unwrap(), rig.send("in", 2).unwrap()];
    let before = rig.world.happened().len();
    let changed = PIPELINE.replace("thing = 'file 1'", "thing = 'file 1'\nsetting = 1");
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&changed);
    a_moment().await;
    assert_eq!(world.happened_since(before), ["push stops", "push ends"]);
    // Sent meanwhile: it waits with its credits, and cannot be asked for what it had kept.
    receipts.extend([3, 1].map(|count| world.send("in", count).unwrap()));
    assert!(world.outlet("in").kept().await.is_err());
    world.stall("file 1", false);
    let (mut rig, changes) = reloading.await;
    let changes = changes.unwrap();
    assert_eq!((changes.changed, changes.restarted), (vec!["sinks.store".into()], vec!["sinks.push".into()]));
    for receipt in &mut receipts {
        assert_eq!(receipt.outcome().await, stored(0));
    }
    assert_eq!(
        rig.world.happened_since(before),
        ["push stops", "push ends", "store 1 closes", "store 2 opens", "push starts"]
    );
    assert_eq!(rig.world.names("file 1"), ["a1", "a2", "a2", "a3", "a3", "a3", "a4"]);
    assert_eq!(rig.in_flight(), (0, 0));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_sink_is_bounded_by_the_budget_and_goes_before_what_comes_later() {
    let settings = "[runtime]\nmax_in_flight_events = 10\n";
    let rig = Rig::start(&format!("{settings}{PIPELINE}")).await;
    rig.world.stall("file 1", true);
    let mut receipts = vec![rig.send("in", 4).unwrap()];
    let changed = format!("{settings}{PIPELINE}").replace("thing = 'file 1'", "thing = 'file 1'\nsetting = 1");
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&changed);
    a_moment().await;
    receipts.push(world.send("in", 6).unwrap());
    assert_eq!(world.send("in", 1).unwrap_err().kind, RefusalKind::Full);
    let outlet = world.outlet("in");
    let waiting = tokio::spawn(async move { outlet.send(rig::events(1), false).await.unwrap().outcome().await });
    a_moment().await;
    world.stall("file 1", false);
    let (mut rig, changes) = reloading.await;
    changes.unwrap();
    for receipt in &mut receipts {
        assert_eq!(receipt.outcome().await, stored(0));
    }
    assert_eq!(waiting.await.unwrap(), stored(0));
    assert_eq!(rig.world.names("file 1").last().unwrap(), "a3");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_another_file_is_opened_beside_the_old_one_which_keeps_all_it_was_given() {
    let rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    let mut first = rig.send("in", 1).unwrap();
    let before = rig.world.happened().len();
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&PIPELINE.replace("file 1", "file 2"));
    a_moment().await;
    assert_eq!(world.happened_since(before), ["store 2 opens", "push stops", "push ends", "push starts"]);
    let mut second = world.send("in", 1).unwrap();
    assert_eq!(second.outcome().await, stored(0), "the new one works while the old one still writes");
    world.stall("file 1", false);
    let (mut rig, changes) = reloading.await;
    assert_eq!(changes.unwrap().warnings, [""; 0]);
    assert_eq!(first.outcome().await, stored(0));
    assert_eq!((rig.world.names("file 1").len(), rig.world.names("file 2").len()), (1, 1));
    assert!(rig.world.happened().contains(&"store 1 closes".to_owned()));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_sink_that_does_not_come_to_an_end_is_left_to_it_and_the_stop_waits_for_it() {
    let mut rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    drop(rig.outlet("in").try_send(rig::events(1), true).unwrap());
    let changes = rig.reload(&PIPELINE.replace("file 1", "file 2")).await.unwrap();
    assert!(changes.warnings[0].starts_with("sinks.store, as it was before"), "{changes:?}");
    // What it has is not opened a second time.
    let back = rig.reload(PIPELINE).await;
    assert!(matches!(&back, Err(ReloadError::Busy(why)) if why.contains("sinks.store")), "{back:?}");
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    rig.world.stall("file 1", false);
    rig.reload(PIPELINE).await.unwrap();
    rig.stop().await.unwrap();
    assert_eq!((rig.world.names("file 1").len(), rig.world.names("file 2").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_beside_the_old_graph_changes_nothing() {
    let mut rig = Rig::start(PIPELINE).await;
    let mut first = rig.send("in", 1).unwrap();
    let before = rig.world.happened().len();
    let elsewhere = PIPELINE.replace("port 1", "port 2").replace("file 1", "file 2");
    let refused = rig.reload(&elsewhere.replace("'port 2'", "'port 2'\nfails = true")).await;
    assert_eq!(refused.unwrap_err().to_string(), "in cannot be opened");
    // The sink had been opened before the source, and is closed again.
    assert_eq!(rig.world.happened_since(before), ["store 2 opens", "store 2 closes"]);
    assert_eq!(first.outcome().await, stored(0));
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    rig.reload(&elsewhere).await.unwrap();
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    assert_eq!((rig.world.names("file 1").len(), rig.world.names("file 2").len()), (2, 1));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_a_successor_cannot_be_opened_the_old_one_is_and_what_waited_goes_its_old_way() {
    let rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    let mut first = rig.send("in", 1).unwrap();
    let before = rig.world.happened().len();
    // The new way would mark the events otherwise, and another source would be there too.
    let changed = PIPELINE
        .replace("thing = 'file 1'", "thing = 'file 1'\nfails = true")
        .replace("mark = 'a'", "mark = 'new'")
        .replace("['in']", "['in', 'also']");
    let changed = format!("{changed}[sources.also]\ntype = 'tap'\nthing = 'port 2'\n");
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&changed);
    a_moment().await;
    let mut second = world.send("in", 1).unwrap();
    world.stall("file 1", false);
    let (mut rig, refused) = reloading.await;
    assert_eq!(refused.unwrap_err().to_string(), "store cannot be opened");
    assert_eq!((first.outcome().await, second.outcome().await), (stored(0), stored(0)));
    assert_eq!(
        rig.world.happened_since(before),
        ["also 1 opens", "push stops", "push ends", "store 1 closes", "also 1 closes", "store 3 opens", "push starts"]
    );
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    assert_eq!(rig.world.names("file 1"), ["a1", "a2", "a3"]);
    // The refused one has left nothing, and the same again without its fault is taken.
    assert!(!rig.metrics.render().contains("also"), "{}", rig.metrics.render());
    rig.reload(&changed.replace("fails = true\n", "")).await.unwrap();
    assert_eq!(rig.send("also", 1).unwrap().outcome().await, stored(0));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_changed_source_finishes_what_it_has_begun_before_its_successor_opens() {
    let slow = PIPELINE.replace("'port 1'", "'port 1'\nslow = 1");
    let rig = Rig::start(&slow).await;
    rig.world.stall("file 1", true);
    let old = rig.outlet("in");
    let mut first = old.try_send(rig::events(1), false).unwrap();
    let before = rig.world.happened().len();
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&slow.replace("slow = 1", "slow = 1\nsetting = 1"));
    a_moment().await;
    assert_eq!(world.happened_since(before), ["in 1 stops"]);
    // It still has a request to finish, and a way for it.
    let mut last = old.try_send(rig::events(1), false).unwrap();
    drop(old);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.happened_since(before), ["in 1 stops", "in 1 closes"], "batches have no outcome yet");
    world.stall("file 1", false);
    let (mut rig, changes) = reloading.await;
    assert_eq!(changes.unwrap().changed, ["sources.in"]);
    assert_eq!((first.outcome().await, last.outcome().await), (stored(0), stored(0)));
    assert_eq!(rig.world.happened_since(before), ["in 1 stops", "in 1 closes", "in 2 opens"]);
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_stop_is_cut_off_and_said_and_one_that_cannot_be_opened_is_put_back() {
    let slow = PIPELINE.replace("'port 1'", "'port 1'\nslow = 3600");
    let mut rig = Rig::start(&slow).await;
    let changes = rig.reload(PIPELINE).await.unwrap();
    assert_eq!(changes.warnings, ["sources.in did not stop in time and was cut off"]);
    let refused = rig.reload(&PIPELINE.replace("'port 1'", "'port 1'\nfails = true")).await;
    assert_eq!(refused.unwrap_err().to_string(), "in cannot be opened");
    assert_eq!(rig.send("in", 1).unwrap().outcome().await, stored(0));
    assert_eq!(rig.world.holders("port 1"), 1);
    rig.stop().await.unwrap();
    assert_eq!(rig.world.holders("port 1"), 0);
}

#[tokio::test(start_paused = true)]
async fn where_neither_can_be_opened_the_run_ends_and_says_both() {
    let rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    drop(rig.send("in", 1).unwrap());
    let world = rig.world.clone();
    let reloading = rig.reload_beside(&PIPELINE.replace("thing = 'file 1'", "thing = 'file 1'\nfails = true"));
    a_moment().await;
    let mut waiting = world.send("in", 2).unwrap();
    drop(world.outlet("in").try_send(rig::events(3), true).unwrap());
    world.spoil("file 1");
    world.stall("file 1", false);
    let (mut rig, lost) = reloading.await;
    assert!(matches!(lost, Err(ReloadError::Lost(_))), "{lost:?}");
    assert!(matches!(waiting.outcome().await, Outcome::Failed(_)), "its client keeps it");
    let Err(RunError::Drain(problems)) = rig.ended().await else { panic!("ended well") };
    assert!(
        problems[0].contains("store cannot be opened") && problems[0].contains("file 1 is spoiled"),
        "{problems:?}"
    );
    assert_eq!(problems[1], "3 events that had been taken found no sink");
    assert_eq!(rig.in_flight(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_answer_in_time_is_not_exchanged_and_the_old_graph_goes_on() {
    let rig = Rig::start(PIPELINE).await;
    rig.world.stall("file 1", true);
    let mut first = rig.send("in", 1).unwrap();
    let _world = rig.world.clone();
    let reloading = rig.reload_beside(
        &PIPELINE
            .replace("thing = 'file 1'", "thing = 'file 1'\nsetting = 1")
            .replace("'port 1'", "'port 1'\nslow = 1"),
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (mut rig, busy) = reloading.await;
    assert!(matches!(&busy, Err(ReloadError::Busy(why)) if why.contains("sinks.store")), "{busy:?}");
    // The source had been stopped, and is there again; so is the reader.
    let mut second = rig.send("in", 1).unwrap();
    rig.world.stall("file 1", false);
    assert_eq!((first.outcome().await, second.outcome().await), (stored(0), stored(0)));
    assert_eq!(rig.world.count("store 1 opens"), 1);
    assert_eq!(rig.world.count("push starts"), 2);
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_reload_ends_the_waiting_and_loses_nothing() {
    for changed in [
        PIPELINE.replace("thing = 'file 1'", "thing = 'file 1'\nsetting = 1"),
        PIPELINE.replace("'port 1'", "'port 1'\nsetting = 1"),
        PIPELINE.replace("file 1", "file 2"),
    ] {
        let rig = Rig::start(PIPELINE).await;
        rig.world.stall("file 1", true);
        let mut first = rig.outlet("in").try_send(rig::events(1), true).unwrap();
        let _world = rig.world.clone();
        let world = rig.world.clone();
        let reloading = rig.reload_beside(&changed);
        a_moment().await;
        let began = tokio::time::Instant::now();
        // Where the source goes on, what it takes now waits, or goes to the successor.
        let mut last = world.lent("in").map(|(outlet, _)| outlet.try_send(rig::events(1), true).unwrap());
        reloading.stop_soon();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.stall("file 1", false);
        let (mut rig, _) = reloading.await;
        assert_eq!(first.outcome().await, stored(0));
        if let Some(last) = &mut last {
            assert_eq!(last.outcome().await, stored(0));
        }
        rig.ended().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!((world.holders("file 1"), world.holders("file 2"), world.holders("port 1")), (0, 0, 0));
        let other = PIPELINE.replace("mark = 'a'", "mark = 'other'");
        assert!(matches!(rig.reload(&other).await, Err(ReloadError::Stopping)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_changes_while_it_runs_and_figures_of_what_is_gone_go() {
    let with = |events: usize| format!("[runtime]\nmax_in_flight_events = {events}\n{PIPELINE}");
    let mut rig = Rig::start(&with(2)).await;
    rig.world.stall("file 1", true);
    let mut first = rig.send("in", 2).unwrap();
    assert!(rig.send("in", 1).is_err());
    let before = rig.world.happened().len();
    assert!(rig.reload(&with(600)).await.unwrap().is_none());
    // More batches than could wait when the sink began.
    let mut receipts: Vec<_> = (0..598).map(|_| rig.send("in", 1).unwrap()).collect();
    assert_eq!(rig.world.happened_since(before), [""; 0]);
    rig.world.stall("file 1", false);
    assert_eq!(first.outcome().await, stored(0));
    for receipt in &mut receipts {
        assert_eq!(receipt.outcome().await, stored(0));
    }

    let more = with(600) + "[sinks.copy]\ntype = 'shelf'\ninputs = ['mark']\nthing = 'file 2'\n";
    rig.reload(&more).await.unwrap();
    assert!(rig.metrics.render().contains("queue_batches{component=\"copy\"}"));
    rig.reload(&with(600).replace("thing = 'file 1'", "thing = 'file 1'\nsetting = 1")).await.unwrap();
    assert!(!rig.metrics.render().contains("copy"), "{}", rig.metrics.render());
    let admitted = "admitted_events_total{component=\"in\"} 600";
    assert!(rig.metrics.render().contains(admitted), "{}", rig.metrics.render());
    assert!(rig.metrics.render().contains("queue_lost_total{component=\"store\"} 0"));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn components_that_do_not_say_what_they_hold_are_exchanged_one_after_the_other() {
    let silent = PIPELINE.replace("thing =", "silent = true\nthing =");
    let mut rig = Rig::start(&silent).await;
    let before = rig.world.happened().len();
    rig.reload(&silent.replace("file 1", "file 2").replace("port 1", "port 2")).await.unwrap();
    let order = rig.world.happened_since(before);
    let at = |what: &str| order.iter().position(|it| it == what).unwrap_or_else(|| panic!("{what} in {order:?}"));
    assert!(at("in 1 closes") < at("in 2 opens") && at("store 1 closes") < at("store 2 opens"), "{order:?}");
    // A component that takes another's name away takes its things over.
    let renamed = silent.replace("sources.in", "sources.into").replace("['in']", "['into']");
    rig.reload(&renamed).await.unwrap();
    assert_eq!(rig.send("into", 1).unwrap().outcome().await, stored(0));
    rig.stop().await.unwrap();
}
