//! What the API port serves: one table, from which its OpenAPI description is made and by which every question's
//! parameters are checked.

use engine::metrics::Figure;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sinks::sqlite_store::{
    EventRow, Overview, Page, Resources, RunSummary, SessionSummary, SpanRow, Stats, StoredEvent,
};

/// One path.
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    pub(super) method: Method,
    pub(super) summary: &'static str,
    /// In groups, so that paths may share one.
    parameters: &'static [&'static [Parameter]],
    pub(super) answer: Answer,
    /// Whether the token is asked for.
    pub(super) guarded: bool,
    /// Statuses besides 200 and those that every path has.
    pub(super) also: &'static [u16],
}

impl Endpoint {
    /// All parameters of its query.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> + use<> {
        self.parameters.iter().flat_map(|group| group.iter())
    }
}

/// How a path is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// It only reads.
    Get,
    /// It does something.
    Post,
}

/// One parameter of a path.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) meaning: &'static str,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Any text, not longer than an id may be.
    Text,
    /// One or several texts, by comma.
    Texts,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// RFC 3339, Unix milliseconds, or a time back from now.
    Time,
    /// A whole number.
    Number { least: i64, most: i64, default: Option<i64> },
    /// `next` of the page before.
    Cursor,
}

/// What is answered.
pub(super) enum Answer {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// One of these media types.
    Media(&'static [&'static str]),
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn text(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, form: Form::Text, meaning }
}

const fn time(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, form: Form::Time, meaning }
}

const KIND: Parameter = Parameter {
    name: "kind",
    form: Form::Texts,
    meaning: "kinds of events, by comma; left out: all but metric and link; *: all",
};
const SESSION: Parameter = text("session", "id of the session");
const RUN: Parameter = text("run", "id of the run");
const AGENT: Parameter = text("agent", "id of the agent");
const MODEL: Parameter = text("model", "name of a model: its calls");
const TOOL: Parameter = text("tool", "name of a tool: its calls");
const STATUS: Parameter = Parameter { name: "status", form: Form::OneOf(&["ok", "error"]), meaning: "how it ended" };
const FROM: Parameter = time("from", "not before this time");
const TO: Parameter = time("to", "before this time");
const QUERY: Parameter = text("q", "text that must occur, in any case");
const CURSOR: Parameter = Parameter { name: "cursor", form: Form::Cursor, meaning: "next of the page before" };
const LIMIT: Parameter =
    Parameter { name: "limit", form: Form::Number { least: 1, most: 500, default: Some(50) }, meaning: "most items" };

/// What events must be.
const FILTERS: &[Parameter] = &[KIND, SESSION, RUN, AGENT, MODEL, TOOL, STATUS, FROM, TO, QUERY];

/// A list of runs.
#[derive(Serialize, JsonSchema)]
pub(super) struct Runs {
    /// The runs, latest first.
    pub(super) runs: Vec<RunSummary>,
    /// The next page's `cursor`; null at the end.
    pub(super) next: Option<String>,
}

/// A list of sessions.
#[derive(Serialize, JsonSchema)]
pub(super) struct Sessions {
    /// The sessions, latest first.
    pub(super) sessions: Vec<SessionSummary>,
    /// The next page's `cursor`; null at the end.
    pub(super) next: Option<String>,
}

/// One run with the events of its tree.
#[derive(Serialize, JsonSchema)]
pub(super) struct WholeRun {
    /// The run in short.
    pub(super) run: RunSummary,
    /// Its events in order of time.
    pub(super) events: Vec<SpanRow>,
    /// Whether it has more events than are shown.
    pub(super) cut: bool,
}

/// What the process says of itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct Status {
    /// The program's version.
    pub(super) version: &'static str,
    /// `starting`, `running` or `draining`.
    pub(super) phase: &'static str,
    /// Time since the start.
    pub(super) uptime_seconds: u64,
    /// Why events are refused now; null: they are taken.
    pub(super) refusing: Option<String>,
    /// The process's clock, RFC 3339.
    pub(super) now: String,
    /// The graph.
    pub(super) components: Vec<Component>,
    /// What `/metrics` says.
    pub(super) metrics: Vec<Figure>,
    /// The store; null where there is none, or it cannot be read now.
    pub(super) store: Option<Overview>,
}

/// One component of the graph.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Component {
    /// `sources`, `transforms` or `sinks`.
    pub(crate) section: String,
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Its type.
    pub(crate) r#type: String,
    /// Whom it reads from.
    pub(crate) inputs: Vec<String>,
}

/// Whether the process lives.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok`.
    pub(super) status: &'static str,
    /// `starting`, `running` or `draining`.
    pub(super) phase: &'static str,
    /// The program's version.
    pub(super) version: &'static str,
    /// Time since the start.
    pub(super) uptime_seconds: u64,
}

/// Whether events are taken.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    /// `ready` or `not ready`.
    pub(super) status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// An error.
#[derive(Serialize, JsonSchema)]
pub(super) struct Failure {
    /// What is wrong and what to do.
    pub(super) error: String,
    /// Each mistake by itself, where there may be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errors: Option<Vec<String>>,
}

/// What a reload has done; components as `sinks.store`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reloaded {
    /// The file, or `embedded default`.
    pub(crate) configuration: String,
    /// New components.
    pub(crate) added: Vec<String>,
    /// Components that are gone.
    pub(crate) removed: Vec<String>,
    /// Components with other settings: each was exchanged.
    pub(crate) changed: Vec<String>,
    /// Components with the same settings that were exchanged because the store that they read from was.
    pub(crate) restarted: Vec<String>,
    /// Components that read from others than before and run on.
    pub(crate) rejoined: Vec<String>,
    /// Components that run on as they were.
    pub(crate) kept: Vec<String>,
    /// Keys that differ from those of the last start and take effect at the next.
    pub(crate) needs_restart: Vec<String>,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
}

/// The paths. Those of the dashboard's own files are not among them.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/healthz",
        method: Method::Get,
        summary: "Whether the process lives",
        parameters: &[],
        answer: Answer::Json(schema::<Health>),
        guarded: false,
        also: &[],
    },
    Endpoint {
        path: "/readyz",
        method: Method::Get,
        summary: "Whether events are taken now",
        parameters: &[],
        answer: Answer::Json(schema::<Ready>),
        guarded: false,
        also: &[503],
    },
    Endpoint {
        path: "/metrics",
        method: Method::Get,
        summary: "Metrics in the Prometheus text format",
        parameters: &[],
        answer: Answer::Media(&["text/plain"]),
        guarded: true,
        also: &[],
    },
    Endpoint {
        path: "/openapi.json",
        method: Method::Get,
        summary: "This description",
        parameters: &[],
        answer: Answer::Json(|_| schemars::json_schema!({ "type": "object" })),
        guarded: false,
        also: &[],
    },
    Endpoint {
        path: "/api/v1/status",
        method: Method::Get,
        summary: "The process, its graph and its metrics",
        parameters: &[],
        answer: Answer::Json(schema::<Status>),
        guarded: true,
        also: &[],
    },
    Endpoint {
        path: "/api/v1/events",
        method: Method::Get,
        summary: "Events in order of time",
        parameters: &[
            FILTERS,
            &[
                Parameter {
                    name: "order",
                    form: Form::OneOf(&["desc", "asc"]),
                    meaning: "latest first (the default) or oldest first",
                },
                Parameter {
                    name: "bodies",
                    form: Form::OneOf(&["preview", "full", "none"]),
                    meaning: "a line of input and output (the default), all of them, or nothing",
                },
                LIMIT,
                CURSOR,
            ],
        ],
        answer: Answer::Json(schema::<Page>),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/events/{trace_id}",
        method: Method::Get,
        summary: "One event whole",
        parameters: &[],
        answer: Answer::Json(schema::<StoredEvent>),
        guarded: true,
        also: &[404, 429, 503],
    },
    Endpoint {
        path: "/api/v1/sessions",
        method: Method::Get,
        summary: "Sessions, latest first",
        parameters: &[&[AGENT, FROM, TO, QUERY, LIMIT, CURSOR]],
        answer: Answer::Json(schema::<Sessions>),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/runs",
        method: Method::Get,
        summary: "Runs, latest first",
        parameters: &[&[SESSION, AGENT, STATUS, FROM, TO, QUERY, LIMIT, CURSOR]],
        answer: Answer::Json(schema::<Runs>),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/runs/{run_id}",
        method: Method::Get,
        summary: "One run with the events of its tree",
        parameters: &[],
        answer: Answer::Json(schema::<WholeRun>),
        guarded: true,
        also: &[404, 429, 503],
    },
    Endpoint {
        path: "/api/v1/stats",
        method: Method::Get,
        summary: "Calls, tokens, cost and latency over time",
        parameters: &[&[
            Parameter {
                name: "by",
                form: Form::OneOf(&["model", "tool", "kind"]),
                meaning: "what is grouped: model calls by model (the default), tool calls by tool, events by kind",
            },
            FROM,
            TO,
            Parameter {
                name: "step",
                form: Form::Number { least: 1, most: 31_536_000, default: None },
                meaning: "seconds between two points; made to fit",
            },
        ]],
        answer: Answer::Json(schema::<Stats>),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/resources",
        method: Method::Get,
        summary: "The machine over time",
        parameters: &[&[
            FROM,
            TO,
            Parameter {
                name: "points",
                form: Form::Number { least: 10, most: 1000, default: Some(300) },
                meaning: "about how many points",
            },
        ]],
        answer: Answer::Json(schema::<Resources>),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/stream",
        method: Method::Get,
        summary: "Events as they are stored, as server-sent events with an EventRow each",
        parameters: &[&[
            KIND,
            SESSION,
            RUN,
            AGENT,
            STATUS,
            Parameter {
                name: "after",
                form: Form::Number { least: 0, most: i64::MAX, default: None },
                meaning: "go on behind the event with this id",
            },
        ]],
        answer: Answer::Media(&["text/event-stream"]),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/export",
        method: Method::Get,
        summary: "Events as a download, oldest first",
        parameters: &[
            FILTERS,
            &[Parameter {
                name: "format",
                form: Form::OneOf(&["ndjson", "csv", "otlp"]),
                meaning: "NDJSON that /v1/events takes (the default), CSV, or OTLP/JSON requests",
            }],
        ],
        answer: Answer::Media(&["application/x-ndjson", "text/csv"]),
        guarded: true,
        also: &[429, 503],
    },
    Endpoint {
        path: "/api/v1/reload",
        method: Method::Post,
        summary: "Read the configuration anew and change what is different; from this machine only",
        parameters: &[],
        answer: Answer::Json(schema::<Reloaded>),
        guarded: true,
        also: &[409, 422, 429, 500, 503],
    },
];

/// What this port serves, as an OpenAPI 3.1 document.
pub(crate) fn openapi() -> String {
    super::openapi::document(ENDPOINTS, |generator| {
        // What a stream tells is no answer of a path.
        generator.subschema_for::<EventRow>();
        generator.subschema_for::<Failure>();
    })
}
