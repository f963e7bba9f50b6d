//! The runs that are remembered, and the spans of each that others may be joined by.

use std::collections::HashMap;
use std::time::Duration;

use super::link::{Link, Links};
use super::look::{Look, Role};

/// Most spans that are remembered of one run. A longer run keeps its first and loses the rest of its
/// joins, not its events.
const MAX_SPANS: usize = 256;

/// A span, as far as it matters for joining.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) id: String,
    pub(super) role: Role,
    pub(super) parent: Option<String>,
    /// The parent that joining gave it.
    pub(super) joined_parent: Option<String>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) failed: bool,
    pub(super) error: Option<String>,
    pub(super) name: Option<String>,
    pub(super) channel: Option<String>,
    /// In the batch that is passing now: it can still be changed.
    pub(super) passing: bool,
    /// Its failure was told, with it or by a link.
    failure_told: bool,
}

impl Span {
    fn size(&self) -> usize {
        let texts = [&self.parent, &self.joined_parent, &self.error, &self.name, &self.channel];
        size_of::<Self>() + self.id.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Whether `other` lies inside it, with some leave for clocks in milliseconds.
    pub(super) fn holds(&self, other: &Self) -> bool {
        const LEAVE: i64 = 5_000_000;
        self.start.saturating_sub(LEAVE) <= other.start && other.end <= self.end.saturating_add(LEAVE)
    }
}

/// One trace, and the run that it is or belongs to.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The id under which its events are known: OpenClaw's own, or that of the trace it joined.
    id: String,
    session: Option<String>,
    agent: Option<String>,
    pub(super) service: Option<String>,
    pub(super) spans: Vec<Span>,
    /// The trace that it was joined to.
    joined: Option<String>,
    /// Whether spans of other roles are in it, which are not remembered.
    others: bool,
    /// Events of it were stored without a session.
    lacks_session: bool,
    /// Bytes of the spans.
    size: usize,
    heard: u64,
    at: Duration,
}

impl Run {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Whether it belongs to another trace's run.
    pub(super) fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// A piece of a turn that stands alone in its trace.
    pub(super) fn piece(&self) -> Option<&Span> {
        match self.spans.as_slice() {
            [span] if !self.is_joined() && !self.others && is_piece(span) => Some(span),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + 2 * self.id.len() + self.size
    }

    /// Whether a span failed: by itself, or because the last of the calls or runs below it did.
    fn failure(&self, span: &Span, depth: usize) -> Option<String> {
        if span.failed {
            return Some(span.error.clone().unwrap_or_else(|| "error".to_owned()));
        }
        if depth == 0 || !matches!(span.role, Role::Run | Role::Harness | Role::Message) {
            return None;
        }
        let below = self.spans.iter().filter(|other| {
            matches!(other.role, Role::Call | Role::Run | Role::Harness)
                && other.id != span.id
                && other.joined_parent.as_ref().or(other.parent.as_ref()) == Some(&span.id)
        });
        below.max_by_key(|other| other.end).and_then(|last| self.failure(last, depth - 1))
    }
}

/// A piece comes as the root of its trace; a harness of 2026.4.29 names a parent that never comes.
fn is_piece(span: &Span) -> bool {
    match span.role {
        Role::Exec | Role::Usage | Role::Message => span.parent.is_none(),
        Role::Harness => true,
        _ => false,
    }
}

/// Where a span goes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Place {
    /// Another id, where its own is another span's.
    pub(super) new_id: Option<String>,
    pub(super) parent: Option<String>,
    /// Why it failed, where it did.
    pub(super) failure: Option<String>,
}

/// All runs that are remembered, by the id of their trace.
pub(super) struct Runs {
    runs: HashMap<String, Run>,
    max_runs: usize,
    max_bytes: usize,
    max_age: Duration,
    clock: u64,
    now: Duration,
    /// When what is too old is forgotten next.
    next_sweep: Duration,
    /// Traces with a span in the passing batch.
    pub(super) passing: Vec<String>,
    /// Traces of pieces that wait for their turn; oldest first.
    pub(super) alone: Vec<String>,
}

/// Most pieces that wait for their turn.
const MAX_ALONE: usize = 256;

impl Runs {
    pub(super) fn new(max_runs: usize, max_bytes: usize, max_age: Duration) -> Self {
        Self {
            runs: HashMap::new(),
            max_runs,
            max_bytes,
            max_age,
            clock: 0,
            now: Duration::ZERO,
            next_sweep: Duration::ZERO,
            passing: Vec::new(),
            alone: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn get(&self, trace: &str) -> Option<&Run> {
        self.runs.get(trace)
    }

    pub(super) fn get_mut(&mut self, trace: &str) -> Option<&mut Run> {
        self.runs.get_mut(trace)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Run)> {
        self.runs.iter()
    }

    /// A batch comes.
    pub(super) fn begin(&mut self, now: Duration) {
        self.now = now;
        self.clock += 1;
        if now >= self.next_sweep {
            let max_age = self.max_age;
            self.runs.retain(|_, run| now.saturating_sub(run.at) < max_age);
            self.alone.retain(|trace| self.runs.contains_key(trace));
            self.next_sweep = now + max_age / 16;
        }
    }

    /// Remembers what an event says.
    pub(super) fn note(&mut self, look: &Look, links: &mut Links) {
        if matches!(look.role, Role::Infrastructure | Role::Cost) {
            return;
        }
        let Some(trace) = &look.trace else { return };
        let (clock, now) = (self.clock, self.now);
        let run = self.runs.entry(trace.clone()).or_insert_with(|| Run { id: trace.clone(), ..Run::default() });
        run.heard = clock;
        run.at = now;
        if run.service.is_none() {
            run.service.clone_from(&look.service);
        }
        run.learn(trace, look, links);
        run.note_span(look);
        if run.piece().is_some() && !self.alone.contains(trace) {
            if self.alone.len() == MAX_ALONE {
                self.alone.remove(0);
            }
            self.alone.push(trace.clone());
        }
        if self.passing.last() != Some(trace) {
            self.passing.push(trace.clone());
        }
    }

    /// Where the span goes that an event of `run` tells.
    pub(super) fn place(&self, run: &Run, look: &Look) -> Option<Place> {
        let (span, role) = (look.span.as_deref()?, look.role);
        // A piece's place is known by the run that it was joined to.
        let host = run.joined.as_ref().and_then(|host| self.runs.get(host));
        let run = host.unwrap_or(run);
        let found = run.spans.iter().find(|other| other.id == span && other.role == role)?;
        let twin = run.spans.iter().any(|other| other.id == span && other.role != role);
        // OpenClaw gives a command the id of the harness it ran under. A command is a leaf: no other
        // span names it as its parent, so another id does no harm.
        let shared = role == Role::Exec && !look.joined && (twin || found.parent.is_some());
        Some(Place {
            new_id: shared.then(|| format!("{span}-exec")),
            parent: found.joined_parent.clone(),
            failure: run.failure(found, 16),
        })
    }

    /// Tells the failure of spans that were stored as good ones.
    pub(super) fn tell_failures(&mut self, links: &mut Links) {
        let mut passing = self.passing.clone();
        passing.sort_unstable();
        passing.dedup();
        for trace in passing {
            let Some(run) = self.runs.get_mut(&trace) else { continue };
            for at in 0..run.spans.len() {
                let span = &run.spans[at];
                if span.failure_told || !matches!(span.role, Role::Run | Role::Harness | Role::Message) {
                    continue;
                }
                let Some(failure) = run.failure(span, 16) else { continue };
                if !span.passing {
                    links.tell(Link {
                        run: run.id.clone(),
                        span: Some(span.id.clone()),
                        failure: Some(failure),
                        at: span.start,
                        ..Link::default()
                    });
                }
                run.spans[at].failure_told = true;
            }
        }
    }

    /// The batch has passed.
    pub(super) fn end(&mut self) {
        for trace in std::mem::take(&mut self.passing) {
            if let Some(run) = self.runs.get_mut(&trace) {
                run.lacks_session |= run.session.is_none();
                for span in &mut run.spans {
                    span.passing = false;
                }
            }
        }
        let mut bytes: usize = self.runs.values().map(Run::size).sum();
        while self.runs.len() > self.max_runs || (bytes > self.max_bytes && !self.runs.is_empty()) {
            let oldest = self.runs.iter().min_by_key(|(_, run)| run.heard).map(|(trace, _)| trace.clone());
            let Some(run) = oldest.and_then(|trace| self.runs.remove(&trace)) else { break };
            bytes -= run.size();
        }
    }
}

impl Run {
    /// Takes the names that an event gives to the run.
    fn learn(&mut self, trace: &str, look: &Look, links: &mut Links) {
        if let Some(id) = &look.run
            && self.id == *trace
            && id != trace
        {
            self.id.clone_from(id);
            if self.spans.iter().any(|span| !span.passing) || self.others {
                let other = Some(trace.to_owned());
                links.tell(Link { run: id.clone(), other, at: look.start, ..Link::default() });
            }
        }
        self.name(look.session.as_ref(), look.agent.as_ref(), look.start, links);
    }

    fn note_span(&mut self, look: &Look) {
        let Some(id) = &look.span else { return };
        if look.role == Role::Other {
            self.others = true;
            return;
        }
        // Sent again after a refusal: it passes again.
        if let Some(known) = self.spans.iter_mut().find(|span| span.id == *id && span.role == look.role) {
            known.passing = true;
            return;
        }
        if self.spans.len() == MAX_SPANS {
            return;
        }
        self.push(Span {
            id: id.clone(),
            role: look.role,
            parent: look.parent.clone(),
            joined_parent: look.parent.clone().filter(|_| look.joined),
            start: look.start,
            end: look.end,
            failed: look.failed,
            error: look.error.clone(),
            name: look.name.clone(),
            channel: look.channel.clone(),
            passing: true,
            failure_told: look.failed,
        });
    }

    fn push(&mut self, span: Span) {
        self.size += span.size();
        self.spans.push(span);
    }

    /// Becomes part of the run `id`, which the trace `host` is.
    pub(super) fn join(&mut self, host: &str, id: &str, session: Option<&str>, agent: Option<&str>) {
        self.id = id.to_owned();
        self.joined = Some(host.to_owned());
        if self.session.is_none() {
            self.session = session.map(str::to_owned);
        }
        if self.agent.is_none() {
            self.agent = agent.map(str::to_owned);
        }
    }

    /// Takes a piece's span as its own.
    pub(super) fn adopt(&mut self, piece: Span) {
        if self.spans.len() < MAX_SPANS {
            self.push(piece);
        }
    }

    /// Takes a session and an agent that became known, and tells those whose events are stored without.
    pub(super) fn name(&mut self, session: Option<&String>, agent: Option<&String>, at: i64, links: &mut Links) {
        if self.agent.is_none() {
            self.agent = agent.cloned();
        }
        if self.session.is_none() && session.is_some() {
            self.session = session.cloned();
            if self.lacks_session {
                links.tell(Link {
                    run: self.id.clone(),
                    session: self.session.clone(),
                    agent: self.agent.clone(),
                    at,
                    ..Link::default()
                });
            }
        }
    }
}
