//! Who may send, where each agent has a token of its own (`tokens_file`).
//!
//! 1. A request bears the token of one agent, or it is refused: the agents that are known are looked at for each
//!    request, also on a connection that is open, so a token that is taken out of the file ends with the next one.
//! 2. Whatever an event says of its agent and organisation, it gets those of the token.
//! 3. The file is read anew when the process is asked to (SIGHUP): all of it, or, where anything in it is wrong,
//!    nothing, and what was in force stays in force.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, StatusCode};
use engine::json::{Members, unescape};
use engine::{Asked, Event};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::rate::Rate;
use super::tokens::{self, Hash};

/// The attribute that names the organisation. Only this port sets it: what a client says of it is dropped.
pub(super) const ORG: &str = "openclaw_trace.org.id";

/// An agent that has a token.
pub(super) struct Agent {
    id: String,
    org: Option<String>,
    rate: Option<Rate>,
    /// It bore another's id the last time, and that was said.
    lied: AtomicBool,
}

/// Who sent a request: an agent, or somebody who need not say.
#[derive(Clone)]
pub(super) struct Caller(Option<Arc<Agent>>);

impl Caller {
    /// Where no token is asked for, or one for all.
    pub(super) const ANYONE: Self = Self(None);

    /// What keeps the identities of one agent's telemetry from another's; empty for anyone.
    pub(super) fn realm(&self) -> &str {
        self.0.as_ref().map_or("", |agent| agent.id.as_str())
    }

    /// # Errors
    /// 403 where the request says that it is another agent's. One that names none says nothing wrong.
    pub(super) fn check_claim(&self, claimed: &str) -> Result<(), Answer> {
        let Some(agent) = self.0.as_deref().filter(|_| !claimed.is_empty()) else { return Ok(()) };
        if agent.id == claimed {
            agent.lied.store(false, Ordering::Relaxed);
            return Ok(());
        }
        if !agent.lied.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                agent = agent.id,
                claimed,
                "a batch says that it is another agent's than its token's; such batches are refused (403)"
            );
        }
        let message = format!(
            "the token is agent {:?}'s and the batch says that it is {claimed:?}'s; correct agent_id \
             (TRACE_AGENT_ID) or use that agent's token; nothing of the batch was kept",
            agent.id
        );
        Err(Answer::error(StatusCode::FORBIDDEN, &message))
    }

    /// Makes the events this agent's.
    pub(super) fn claim(&self, events: &mut [Event]) {
        let Some(agent) = &self.0 else { return };
        for event in events {
            event.agent_id = Some(agent.id.clone());
            set_org(event, agent.org.as_deref());
        }
    }

    /// # Errors
    /// 429 where this agent sends more than it may.
    pub(super) fn check_rate(&self, events: usize) -> Result<(), Answer> {
        self.0.as_ref().and_then(|agent| agent.rate.as_ref()).map_or(Ok(()), |rate| rate.check(events))
    }
}

/// Sets the attribute, or takes it away.
fn set_org(event: &mut Event, org: Option<&str>) {
    let sent = event.attributes.as_ref().map_or("{}", |attributes| attributes.as_str());
    let mut members = Members::default();
    let mut found = false;
    let read = each_member(sent, |name, value| {
        if name == ORG {
            found = true;
        } else {
            members.add(name, value);
        }
    });
    match org {
        // The usual case: nothing to take away.
        None if read && !found => return,
        None => {}
        Some(org) => members.add_text(ORG, org),
    }
    // They were an object before; were they none now, nothing that was sent may stand for it.
    event.attributes = members.finish().ok();
}

/// Calls `f` with each member's name and its value as JSON; whether all could be read. Names are compared as they
/// read, not as they are written: no escape hides one.
fn each_member(object: &str, f: impl FnMut(&str, &str)) -> bool {
    struct Each<F>(F);

    impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            // The name as text of JSON: one with half a character in it would be none as a string.
            while let Some(name) = map.next_key::<&'de RawValue>()? {
                let value: &'de RawValue = map.next_value()?;
                let name = name.get();
                (self.0)(&unescape(&name[1..name.len() - 1]), value.get());
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(object).deserialize_map(Each(f)).is_ok()
}

/// All that are known, by the hash of their tokens.
struct Known(HashMap<Hash, Arc<Agent>>);

impl Known {
    /// Reads the file. An agent that was known `before` is the same one: what it has used up of its rate stays.
    fn read(path: &Path, limit: Option<Limit>, before: Option<&Self>) -> Result<Self, String> {
        let key = |agent: &Agent| (agent.id.clone(), agent.org.clone());
        let mut agents: HashMap<(String, Option<String>), Arc<Agent>> = before
            .into_iter()
            .flat_map(|known| known.0.values())
            .map(|agent| (key(agent), Arc::clone(agent)))
            .collect();
        let known = tokens::read(path)?.into_iter().map(|entry| {
            // Two tokens of one agent, the old one and the new one, share what it may send.
            let agent = agents.entry((entry.agent, entry.org)).or_insert_with_key(|(id, org)| {
                let rate = limit.map(|limit| Rate::new(limit.per_second, limit.burst));
                Arc::new(Agent { id: id.clone(), org: org.clone(), rate, lied: AtomicBool::new(false) })
            });
            (entry.hash, Arc::clone(agent))
        });
        Ok(Self(known.collect()))
    }
}

/// What one agent may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) per_second: NonZeroU32,
    pub(super) burst: NonZeroU32,
}

/// The file, and what it said when it was last right.
pub(super) struct Agents {
    /// The component's name, for log lines.
    name: String,
    path: PathBuf,
    limit: Option<Limit>,
    known: RwLock<Arc<Known>>,
}

impl Agents {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn open(name: &str, path: &Path, limit: Option<Limit>) -> Result<Self, String> {
        let known = RwLock::new(Arc::new(Known::read(path, limit, None)?));
        Ok(Self { name: name.to_owned(), path: path.to_owned(), limit, known })
    }

    /// How many tokens are in force.
    pub(super) fn tokens(&self) -> usize {
        self.known().0.len()
    }

    /// # Errors
    /// 401: no token, or none that is known.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Answer> {
        let token = listener::bearer(headers).map_err(|(status, why)| Answer::error(status, why))?;
        match self.known().0.get(&tokens::hash(token)) {
            Some(agent) => Ok(Caller(Some(Arc::clone(agent)))),
            None => {
                let message = "the bearer token is not known here; it may have been revoked";
                Err(Answer::error(StatusCode::UNAUTHORIZED, message))
            }
        }
    }

    /// Reads the file again each time it is asked for.
    pub(super) async fn follow(self: Arc<Self>, mut reload: Asked) {
        loop {
            reload.asked().await;
            let agents = Arc::clone(&self);
            // A large file takes a while, and requests go on meanwhile.
            if let Err(error) = tokio::task::spawn_blocking(move || agents.read_again()).await {
                tracing::error!(component = self.name, %error, "tokens_file could not be read anew; those known before stay in force");
            }
        }
    }

    fn read_again(&self) {
        let before = self.known();
        match Known::read(&self.path, self.limit, Some(&before)) {
            Ok(known) => {
                let (tokens, were) = (known.0.len(), before.0.len());
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                let file = self.path.display();
                tracing::info!(component = self.name, %file, tokens, were, "tokens_file is read anew");
            }
            Err(reason) => tracing::error!(
                component = self.name,
                reason,
                "tokens_file is not taken: the tokens known before stay in force; mend the file and send SIGHUP again"
            ),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn agent(org: Option<&str>) -> Caller {
        let org = org.map(str::to_owned);
        Caller(Some(Arc::new(Agent { id: "a".into(), org, rate: None, lied: AtomicBool::new(false) })))
    }

    fn claimed(caller: &Caller, event: &str) -> serde_json::Value {
        let mut events = [Event::from_json(event).unwrap()];
        caller.claim(&mut events);
        serde_json::from_str(&events[0].to_json()).unwrap()
    }

    #[test]
    fn whatever_an_event_says_it_is_the_tokens_agents() {
        let forged = json!({"kind": "log", "agent_id": "b", "openclaw_trace.org.id": "field", "attributes": {"openclaw_trace.org.id": "x", "k": 1}});
        let told = claimed(&agent(Some("acme")), &forged.to_string());
        assert_eq!((&told["agent_id"], &told["attributes"]), (&json!("a"), &json!({"k": 1, ORG: "acme"})));
        let told = claimed(&agent(None), &forged.to_string());
        assert_eq!((&told["agent_id"], &told["attributes"]), (&json!("a"), &json!({"k": 1})));
        assert_eq!(claimed(&agent(Some("acme")), r#"{"kind":"log"}"#)["attributes"], json!({ORG: "acme"}));
        assert_eq!(claimed(&agent(None), r#"{"kind":"log"}"#)["attributes"], serde_json::Value::Null);
        assert_eq!(claimed(&Caller::ANYONE, &forged.to_string())["agent_id"], "b");
    }

    #[test]
    fn no_spelling_of_the_name_gets_by() {
        for name in [r"openclaw_trace.org\u002eid", r"\u006fpenclaw_trace.org.id"] {
            for forged in [
                format!(r#"{{"{name}":"x"}}"#),
                format!(r#"{{"\ud800":1,"{name}":"x"}}"#),
                format!(r#"{{"{name}":"x","{name}":{{"a":[]}},"k":1}}"#),
            ] {
                let event = format!(r#"{{"kind":"log","attributes":{forged}}}"#);
                let mut events = [Event::from_json(&event).unwrap()];
                agent(None).claim(&mut events);
                let left = events[0].attributes.as_ref().unwrap().as_str();
                assert!(!left.contains("\"x\"") && !left.contains("[]"), "{forged} left {left}");
            }
        }
    }

    #[test]
    fn who_bears_anothers_id_is_refused_and_who_bears_none_is_not() {
        assert!(agent(None).check_claim("a").is_ok());
        assert!(agent(None).check_claim("").is_ok());
        assert!(Caller::ANYONE.check_claim("b").is_ok());
        assert_eq!(agent(None).check_claim("b").unwrap_err().status(), StatusCode::FORBIDDEN);
    }

    fn file(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, lines.join("\n")).unwrap();
        (folder, path)
    }

    fn admits(agents: &Agents, token: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        agents.admit(&headers).is_ok()
    }

    #[test]
    fn a_file_read_anew_is_taken_whole_or_not_at_all() {
        let (one, two) = (tokens::fresh("a", None).unwrap(), tokens::fresh("b", None).unwrap());
        let (_folder, path) = file(&[&one.1, &two.1]);
        let agents = Agents::open("ingest", &path, None).unwrap();
        assert!(admits(&agents, &one.0) && admits(&agents, &two.0) && !admits(&agents, "other"));
        assert!(agents.admit(&HeaderMap::new()).is_err());
        std::fs::write(&path, format!("{}\nnonsense", two.1)).unwrap();
        agents.read_again();
        assert!(admits(&agents, &one.0), "a wrong file changes nothing");
        std::fs::write(&path, &two.1).unwrap();
        agents.read_again();
        assert!(!admits(&agents, &one.0) && admits(&agents, &two.0));
        assert_eq!(agents.tokens(), 1);
    }

    #[test]
    fn two_tokens_of_an_agent_share_its_rate_also_over_a_reload_and_other_agents_have_their_own() {
        let lines = [tokens::fresh("a", None), tokens::fresh("a", None), tokens::fresh("b", None)].map(Result::unwrap);
        let (_folder, path) = file(&[&lines[0].1, &lines[1].1, &lines[2].1]);
        let limit = Limit { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(10).unwrap() };
        let agents = Agents::open("ingest", &path, Some(limit)).unwrap();
        let check = |token: &str, events| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            agents.admit(&headers).unwrap().check_rate(events).is_ok()
        };
        assert!(check(&lines[0].0, 10));
        assert!(!check(&lines[1].0, 5), "the same agent");
        assert!(check(&lines[2].0, 10), "another agent");
        agents.read_again();
        assert!(!check(&lines[1].0, 5), "a reload gives nothing back");
    }

    proptest! {
        #[test]
        fn claiming_changes_nothing_but_the_organisation(
            names in prop::collection::vec(prop_oneof![any::<String>(), Just(ORG.to_owned())], 0..6),
            org in prop::option::of("[a-z]{1,8}"),
        ) {
            let attributes: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!({"v": name}))).collect();
            let event = json!({"kind": "log", "attributes": attributes.clone()}).to_string();
            let told = claimed(&agent(org.as_deref()), &event);
            let mut expected = attributes;
            expected.remove(ORG);
            if let Some(org) = &org {
                expected.insert(ORG.to_owned(), json!(org));
            }
            prop_assert_eq!(&told["attributes"], &serde_json::Value::Object(expected));
        }
    }
}
