//! Events to send.

use serde_json::{Value, json};
use uuid::Uuid;

/// An ordinary event of about 300 bytes, with an identity and a marker that nothing else has.
pub fn event() -> Value {
    marked(&Uuid::now_v7().to_string())
}

/// An event that carries `marker` in its attributes.
pub fn marked(marker: &str) -> Value {
    json!({
        "trace_id": Uuid::now_v7().to_string(),
        "kind": "tool_call",
        "status": "ok",
        "session_id": "session-1",
        "run_id": "run-1",
        "name": "read_file",
        "duration_ms": 12.5,
        "input": {"path": "/data/notes.md"},
        "output": "the file's text",
        "attributes": {"marker": marker},
    })
}

/// The `trace_id` of an event.
pub fn id_of(event: &Value) -> Uuid {
    event["trace_id"].as_str().expect("the event has a trace_id").parse().expect("trace_id is a UUID")
}

/// Events as the body of a JSON array.
pub fn array(events: &[Value]) -> Vec<u8> {
    serde_json::to_vec(events).expect("JSON can be written")
}

/// Events as NDJSON.
pub fn ndjson(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("{event}\n").into_bytes()).collect()
}
