//! Which piece belongs to which run.

use super::link::{Link, Links};
use super::look::Role;
use super::runs::{Run, Runs, Span};

/// What joining did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) joined: u64,
    pub(super) ambiguous: u64,
}

/// Tools that run commands.
const SHELLS: [&str; 5] = ["exec", "bash", "shell", "process", "run_command"];

/// A harness begins and ends with its turn; more than this apart, in nanoseconds, it is another's.
const SLACK: i64 = 5_000_000_000;

/// Joins every piece that waits, and commands to the tools of their own trace.
pub(super) fn join(runs: &mut Runs, links: &mut Links) -> Tally {
    let mut tally = Tally::default();
    if runs.passing.is_empty() {
        return tally;
    }
    within_traces(runs, links);
    for trace in runs.alone.clone() {
        let Some(piece) = runs.get(&trace).and_then(Run::piece).cloned() else {
            runs.alone.retain(|other| *other != trace);
            continue;
        };
        let service = runs.get(&trace).and_then(|run| run.service.clone());
        match host(runs, &piece, service.as_deref()) {
            Host::One(host, below) => {
                attach(runs, links, &trace, piece, &host, below);
                runs.alone.retain(|other| *other != trace);
                tally.joined += 1;
            }
            Host::Several => tally.ambiguous += u64::from(piece.passing),
            Host::None => {}
        }
    }
    tally
}

/// A command whose trace holds the tool that ran it hangs below that tool.
fn within_traces(runs: &mut Runs, links: &mut Links) {
    for trace in runs.passing.clone() {
        let Some(run) = runs.get_mut(&trace) else { continue };
        let id = run.id().to_owned();
        for at in 0..run.spans.len() {
            let exec = &run.spans[at];
            if exec.role != Role::Exec || exec.joined_parent.is_some() {
                continue;
            }
            let Some(tool) = single(run.spans.iter().filter(|tool| is_shell(tool) && tool.holds(exec))) else {
                continue;
            };
            let parent = tool.id.clone();
            if !exec.passing {
                // As it was stored.
                let span = if exec.parent.is_some() { format!("{}-exec", exec.id) } else { exec.id.clone() };
                let parent = Some(parent.clone());
                links.tell(Link { run: id.clone(), span: Some(span), parent, at: exec.start, ..Link::default() });
            }
            run.spans[at].joined_parent = Some(parent);
        }
    }
}

fn is_shell(span: &Span) -> bool {
    span.role == Role::Tool && span.name.as_deref().is_some_and(|name| SHELLS.contains(&name))
}

fn single<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The traces that a piece may belong to.
enum Host {
    None,
    /// This one; and the span it hangs below, where exactly one is meant.
    One(String, Option<String>),
    Several,
}

fn host(runs: &Runs, piece: &Span, service: Option<&str>) -> Host {
    let mut found: Option<(&String, Vec<&Span>)> = None;
    for (trace, run) in runs.iter() {
        if run.is_joined() || run.service.as_deref() != service {
            continue;
        }
        let fitting: Vec<&Span> = run.spans.iter().filter(|span| fits(piece, span, run)).collect();
        if fitting.is_empty() {
            continue;
        }
        if found.is_some() {
            return Host::Several;
        }
        found = Some((trace, fitting));
    }
    match found {
        None => Host::None,
        Some((trace, spans)) => {
            let below = match (piece.role, spans.as_slice()) {
                (Role::Exec | Role::Usage, [span]) => Some(span.id.clone()),
                _ => None,
            };
            Host::One(trace.clone(), below)
        }
    }
}

/// Whether `piece` may belong to `run` by its span `span`.
fn fits(piece: &Span, span: &Span, run: &Run) -> bool {
    let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    match piece.role {
        Role::Exec => is_shell(span) && span.holds(piece),
        Role::Harness | Role::Message | Role::Usage => {
            span.role == Role::Run
                && piece.holds(span)
                // One of each is enough for a turn.
                && !run.spans.iter().any(|other| other.role == piece.role && other.id != piece.id)
                && same(&piece.channel, &span.channel)
                && (piece.role == Role::Message || same(&piece.name, &span.name))
                && (piece.role != Role::Harness
                    || (span.start - piece.start).abs() < SLACK && (piece.end - span.end).abs() < SLACK)
        }
        _ => false,
    }
}

/// Makes the piece part of the host's run.
fn attach(runs: &mut Runs, links: &mut Links, trace: &str, mut piece: Span, host: &str, below: Option<String>) {
    let Some(run) = runs.get(host) else { return };
    let (id, session, agent) = (run.id().to_owned(), run.session().map(str::to_owned), run.agent().map(str::to_owned));
    let mut names = (None, None);
    if let Some(part) = runs.get_mut(trace) {
        names = (part.session().map(str::to_owned), part.agent().map(str::to_owned));
        part.join(host, &id, session.as_deref(), agent.as_deref());
    }
    if !piece.passing {
        links.tell(Link {
            run: id.clone(),
            other: Some(trace.to_owned()),
            span: below.is_some().then(|| piece.id.clone()),
            parent: below.clone(),
            session,
            agent,
            at: piece.start,
            ..Link::default()
        });
    }
    let around = matches!(piece.role, Role::Harness | Role::Message).then(|| piece.id.clone());
    piece.joined_parent = below;
    // A harness names a parent that never comes; it is the root of its run unless a message is.
    if let Some(run) = runs.get_mut(host) {
        if let Some(around) = around {
            hang_below(run, &around, piece.role, links);
        }
        run.name(names.0.as_ref(), names.1.as_ref(), piece.start, links);
        run.adopt(piece);
    }
}

/// What was the root of the run so far hangs below `around`.
fn hang_below(run: &mut Run, around: &str, role: Role, links: &mut Links) {
    let id = run.id().to_owned();
    for span in &mut run.spans {
        let is_root = match span.role {
            Role::Run => span.parent.is_none() && span.joined_parent.is_none(),
            Role::Harness => role == Role::Message && span.joined_parent.is_none(),
            _ => false,
        };
        if !is_root {
            continue;
        }
        span.joined_parent = Some(around.to_owned());
        if !span.passing {
            let (span_id, parent) = (Some(span.id.clone()), Some(around.to_owned()));
            links.tell(Link { run: id.clone(), span: span_id, parent, at: span.start, ..Link::default() });
        }
    }
}
