//! What events must be to be asked for.

use engine::Status;
use rusqlite::types::Value;

/// What events must be; what is `None` or empty may be anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    /// One of these kinds; none: any but `metric` and `link`; `*` among them: any.
    pub kinds: Vec<String>,
    /// Of this session, or of a run that belongs to it.
    pub session: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Model calls of this model.
    pub model: Option<String>,
    /// Calls of this tool.
    pub tool: Option<String>,
    /// How it ended.
    pub status: Option<Status>,
    /// Not before this time, in nanoseconds since 1970.
    pub from: Option<i64>,
    /// Before this time.
    pub to: Option<i64>,
    /// With this text in name, error, input, output or attributes.
    pub text: Option<String>,
}

/// Which events come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest.
    #[default]
    Descending,
    /// The oldest.
    Ascending,
}

/// A condition in SQL, and the values of its question marks. Times are the asker's.
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Sql {
    fn and(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        if !self.text.is_empty() {
            self.text.push_str(" AND ");
        }
        self.text.push_str(text);
        self.values.extend(values);
    }
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

impl Condition {
    /// Whether few events are such, and an index holds them: then SQLite is told in so many words.
    pub(super) fn rare(&self) -> Option<&'static str> {
        if self.status == Some(Status::Error) {
            return Some("status = 'error'");
        }
        (self.kinds == ["metric"]).then_some("kind = 'metric'")
    }

    /// All of it but the times. `runs` are the names of the run that is asked for.
    pub(super) fn sql(&self, runs: &[String]) -> Sql {
        let mut sql = Sql { text: String::new(), values: Vec::new() };
        let text = |text: &str| Value::Text(text.to_owned());
        let by_name = self.model.is_some() || self.tool.is_some();
        if self.kinds.is_empty() && !by_name {
            sql.and("kind NOT IN ('metric', 'link')", []);
        } else if !self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind == "*") {
            let kinds = self.kinds.iter().map(|kind| text(kind));
            sql.and(&format!("kind IN ({})", marks(self.kinds.len())), kinds);
        }
        for (kind, name) in [("llm_call", &self.model), ("tool_call", &self.tool)] {
            if let Some(name) = name {
                sql.and(&format!("kind = '{kind}' AND name = ?"), [text(name)]);
            }
        }
        if let Some(session) = &self.session {
            let runs = "run_id IN (SELECT run_id FROM runs WHERE session_id = ?)";
            sql.and(&format!("(session_id = ? OR {runs})"), [text(session), text(session)]);
        }
        if !runs.is_empty() {
            sql.and(&format!("run_id IN ({})", marks(runs.len())), runs.iter().map(|run| text(run)));
        }
        if let Some(agent) = &self.agent {
            sql.and("agent_id = ?", [text(agent)]);
        }
        match self.status {
            Some(Status::Error) => sql.and("status = 'error'", []),
            Some(Status::Ok) => sql.and("status = 'ok'", []),
            None => {}
        }
        if let Some(wanted) = &self.text {
            let pattern = like(wanted);
            // JSON keeps a quote or a line's end escaped, so such a text is looked for as it stands there too.
            let escaped = serde_json::to_string(wanted).unwrap_or_default();
            let inside = like(escaped.trim_matches('"'));
            let columns = ["name", "error", "input", "output", "attributes"];
            let each = columns.map(|column| format!("{column} LIKE ? ESCAPE '\\'")).join(" OR ");
            let values = columns.map(|column| {
                let in_json = !matches!(column, "name" | "error");
                text(if in_json { &inside } else { &pattern })
            });
            sql.and(&format!("({each})"), values);
        }
        if sql.text.is_empty() {
            sql.text.push_str("TRUE");
        }
        sql
    }

    /// Whether an event that was just stored is such; text and times are not looked at.
    #[must_use]
    pub fn takes(&self, event: &super::EventRow) -> bool {
        let kind = event.kind.as_str();
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        let kinds = if self.kinds.is_empty() {
            !matches!(kind, "metric" | "link")
        } else {
            self.kinds.iter().any(|wanted| wanted == kind || wanted == "*")
        };
        kinds
            && same(&self.session, &event.session_id)
            && same(&self.run, &event.run_id)
            && same(&self.agent, &event.agent_id)
            && self.status.is_none_or(|status| event.status == Some(status))
    }
}

/// A pattern for LIKE that matches the text anywhere.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}
