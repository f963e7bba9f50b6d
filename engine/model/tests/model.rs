//! The promises over many interleavings of the real core, and over copies of it with a mistake.
//!
//! `MODEL_SEED` and `MODEL_EXECUTIONS` set another beginning and another length.

#![allow(missing_docs)]

use model::plan::{Plan, Search, Stop, Tally};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// At random and by priorities, so many executions of each.
fn searches(executions: usize) -> [Search; 3] {
    let seed = number("MODEL_SEED", 20_261_125);
    let executions = usize::try_from(number("MODEL_EXECUTIONS", 0)).ok().filter(|n| *n > 0).unwrap_or(executions);
    [
        Search::Random { seed, executions },
        Search::Priorities { seed, executions, depth: 2 },
        Search::Priorities { seed, executions, depth: 4 },
    ]
}

/// Explores the real code; a failure says the search with its seed.
fn holds(plan: &Plan, executions: usize) -> Tally {
    let tally = Tally::default();
    for search in searches(executions) {
        if let Err(broken) = model::real::world::explore(plan, search, &tally) {
            panic!("{search:?} found: {broken}");
        }
    }
    println!("{tally}");
    tally
}

#[test]
fn two_that_wait_for_one_credit_get_it_in_turn_in_every_interleaving() {
    let tried = model::real::core::two_wait_for_one_credit(Search::Every);
    println!("{tried:?} interleavings");
    assert!(tried.is_ok_and(|tried| tried > 100));
}

#[test]
fn a_receipt_waits_for_both_sinks_in_every_interleaving() {
    for second_drops_it in [false, true] {
        let tried = model::real::core::one_batch_and_two_sinks(Search::Every, second_drops_it);
        println!("{tried:?} interleavings");
        assert!(tried.is_ok_and(|tried| tried > 100));
    }
}

#[test]
fn whoever_insists_is_stored_once_and_told_so() {
    let tally = holds(&Plan::small(), 600);
    for met in ["refusals", "failing commits", "group commits", "repeats told as such", "drained"] {
        assert!(tally.of(met) > 0, "the search never met {met}");
    }
}

#[test]
fn all_kinds_of_clients_and_two_sinks_keep_the_promises() {
    let tally = holds(&Plan::wide(), 600);
    for met in ["refusals", "failures heard", "group commits", "told queued", "held", "clients gone"] {
        assert!(tally.of(met) > 0, "the search never met {met}");
    }
}

#[test]
fn a_batch_larger_than_the_budget_is_alone() {
    holds(&Plan { max_events: 1, ..Plan::wide() }, 300);
}

#[test]
fn a_stop_at_any_moment_loses_nothing_that_was_acknowledged() {
    holds(&Plan { stop: Stop::AtAnyMoment, ..Plan::wide() }, 600);
}

#[test]
fn a_drain_that_is_cut_short_says_so_and_no_answer_lies() {
    let tally = holds(&Plan { stop: Stop::WithDeadline, ..Plan::wide() }, 600);
    assert!(tally.of("drained") > 0 && tally.of("cut short") > 0, "{tally}");
}

#[test]
fn a_write_that_hangs_does_not_hold_the_drain() {
    let tally = holds(&Plan { stop: Stop::WithDeadline, hangs: true, ..Plan::wide() }, 300);
    assert!(tally.of("hung") > 0, "{tally}");
}

#[test]
fn reloads_at_any_moment_lose_and_double_nothing() {
    let tally = holds(&Plan { reloads: 2, ..Plan::small() }, 300);
    assert!(tally.of("repeats told as such") > 0, "{tally}");
    let tally = holds(&Plan { reloads: 3, ..Plan::wide() }, 400);
    for met in ["sinks exchanged", "transforms exchanged", "sinks put back", "told queued", "held", "drained"] {
        assert!(tally.of(met) > 0, "the search never met {met}");
    }
}

#[test]
fn a_stop_in_the_middle_of_a_reload_loses_nothing_that_was_acknowledged() {
    let tally = holds(&Plan { reloads: 3, stop: Stop::AtAnyMoment, ..Plan::wide() }, 400);
    assert!(tally.of("reloads cut short by the stop") > 0 && tally.of("sinks exchanged") > 0, "{tally}");
    holds(&Plan { reloads: 3, stop: Stop::WithDeadline, ..Plan::wide() }, 300);
}

/// What the mistake is found to break.
macro_rules! found {
    ($mistake:ident, $plan:expr, $breaks:expr) => {{
        let plan: Plan = $plan;
        let tally = Tally::default();
        let mut found = Ok(0);
        for search in searches(600) {
            found = found.and_then(|_| model::$mistake::world::explore(&plan, search, &tally));
        }
        let broken = found.expect_err("the mistake was not found");
        println!("{broken}");
        assert!($breaks.iter().any(|breaks: &&str| broken.contains(breaks)), "{broken}");
    }};
}

#[test]
fn credits_that_return_before_the_commit_are_noticed() {
    found!(credits_return_early, Plan::small(), ["P2"]);
}

#[test]
fn a_receipt_resolved_by_the_first_of_two_sinks_is_noticed() {
    found!(first_sink_resolves, Plan::wide(), ["P1"]);
}

#[test]
fn a_dropped_batch_that_counts_as_stored_is_noticed() {
    found!(dropped_counts_as_stored, Plan::small(), ["P1"]);
}

#[test]
fn a_wake_that_is_lost_is_noticed() {
    let found = model::wake_is_lost::core::two_wait_for_one_credit(Search::Every);
    assert!(found.is_err_and(|broken| broken.contains("deadlock")));
}

#[test]
fn dedupe_that_remembers_what_it_saw_is_noticed() {
    found!(dedupe_remembers_too_early, Plan::small(), ["P1"]);
}

#[test]
fn dedupe_that_remembers_what_failed_is_noticed() {
    found!(dedupe_remembers_what_failed, Plan::small(), ["P1"]);
}

#[test]
fn a_queue_left_behind_by_the_drain_is_noticed() {
    found!(drain_leaves_the_queue, Plan { stop: Stop::AtAnyMoment, ..Plan::wide() }, ["P6"]);
}

#[test]
fn a_queue_shorter_than_the_credits_is_noticed() {
    found!(queue_is_too_short, Plan::wide(), ["P2", "P6"]);
}

#[test]
fn a_drain_that_hides_what_it_lost_is_noticed() {
    found!(drain_does_not_count, Plan { stop: Stop::WithDeadline, hangs: true, ..Plan::wide() }, ["P6"]);
}

#[test]
fn a_sink_that_confirms_before_it_commits_is_noticed() {
    found!(real, Plan { confirms_first: true, ..Plan::small() }, ["P1"]);
}

#[test]
fn a_reload_that_does_not_hold_the_sources_is_noticed() {
    found!(reload_does_not_hold, Plan { reloads: 3, ..Plan::wide() }, ["P6", "P1"]);
}
