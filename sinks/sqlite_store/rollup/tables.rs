//! The tables of the rollup: the second version of the file.

/// Makes the tables and the indexes that go with them. `{in}` is where they stand: nothing for the file
/// itself, `temp.` for a file of the first version that may only be read.
const TABLES: &str = "
    CREATE TABLE {in}runs (
        id INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        session_id TEXT,
        agent_id TEXT,
        name TEXT,
        model TEXT,
        started INTEGER,
        ended INTEGER,
        seen INTEGER NOT NULL,
        events INTEGER NOT NULL,
        llm_calls INTEGER NOT NULL,
        tool_calls INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cost_pico INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        usage_input_tokens INTEGER NOT NULL,
        usage_cached_tokens INTEGER NOT NULL,
        usage_output_tokens INTEGER NOT NULL,
        usage_cost_pico INTEGER NOT NULL,
        usage_unpriced INTEGER NOT NULL,
        told_cost_pico INTEGER,
        own_at INTEGER,
        own_failed INTEGER,
        told_failed INTEGER NOT NULL,
        error TEXT
    );
    CREATE INDEX {in}runs_by_start ON runs (started) WHERE started IS NOT NULL;
    CREATE INDEX {in}runs_by_session ON runs (session_id, started) WHERE session_id IS NOT NULL;
    CREATE INDEX {in}runs_by_seen ON runs (seen);
    CREATE TABLE {in}run_alias (other TEXT PRIMARY KEY, run_id TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX {in}run_alias_by_run ON run_alias (run_id);
    CREATE TABLE {in}sessions (
        id INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL UNIQUE,
        agent_id TEXT,
        started INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        runs INTEGER NOT NULL,
        llm_calls INTEGER NOT NULL,
        tool_calls INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cost_pico INTEGER NOT NULL,
        unpriced INTEGER NOT NULL
    );
    CREATE INDEX {in}sessions_by_end ON sessions (ended);
    CREATE TABLE {in}stats (
        span INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        provider TEXT NOT NULL,
        calls INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cost_pico INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        timed INTEGER NOT NULL,
        duration_sum REAL NOT NULL,
        duration_max REAL NOT NULL,
        latency BLOB NOT NULL,
        PRIMARY KEY (span, bucket, kind, name, provider)
    ) WITHOUT ROWID;
    CREATE TABLE {in}resources (
        span INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        series BLOB NOT NULL,
        PRIMARY KEY (span, bucket)
    ) WITHOUT ROWID;
";

/// What the second version adds to the file.
pub(in crate::sqlite_store) fn migration() -> String {
    // The two of `events` cost nothing for an event that is neither.
    let indexes = "CREATE INDEX events_failed ON events (ts) WHERE status = 'error';
        CREATE INDEX events_metric ON events (ts) WHERE kind = 'metric';";
    TABLES.replace("{in}", "") + indexes
}

/// The same tables beside a file that may only be read; they end with the connection.
pub(super) fn temporary() -> String {
    TABLES.replace("{in}", "temp.")
}
