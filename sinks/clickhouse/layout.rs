//! The tables, as SQL.
//!
//! One table of events, sorted so that a repeat of an event stands beside it and is merged with it
//! (`ReplacingMergeTree`): every column of the sorting key is the same whenever the event is sent. Parts are by month. A
//! question of one org and agent reads only theirs.
//!
//! Three forms, by the settings:
//!
//! | settings | `TABLE` | beside it |
//! |---|---|---|
//! | none | `ReplacingMergeTree` | |
//! | `replicated` | `ReplicatedReplacingMergeTree` | |
//! | `distributed` | `Distributed`, by `cityHash64(agent_id)` | `TABLE_local`, one of the two above |
//!
//! `TABLE_schema` holds one row for each version of the schema that was made. A version is never changed: a new column
//! is a [`Column`] with a new `since`, and [`VERSION`] one more.

use super::dialect::Dialect;

/// The version of the schema that this program writes.
pub(super) const VERSION: u32 = 1;

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    modern: &'static str,
    old: &'static str,
    /// The version of the schema that it came with.
    pub(super) since: u32,
    /// Whether a row says it; else the server makes it from the others.
    pub(super) told: bool,
}

const fn told(name: &'static str, modern: &'static str, old: &'static str) -> Column {
    Column { name, modern, old, since: 1, told: true }
}

/// The last second of the year 2105. Beyond what 32 bits of seconds hold, old functions of time go wrong.
macro_rules! within {
    () => {
        "least(greatest(ts_ns, 0), 4291747199999999999)"
    };
}

/// The columns, in their order. Text that an event does not have is empty; a number that it does not have is NULL.
pub(super) const COLUMNS: [Column; 30] = [
    told("org_id", "LowCardinality(String)", "String"),
    told("agent_id", "String", "String"),
    // Made by the server, so that a row is the same bytes for every server; held between 1970 and 2105.
    Column {
        name: "ts",
        modern: concat!(
            "DateTime64(9, 'UTC') DEFAULT fromUnixTimestamp64Nano(",
            within!(),
            ", 'UTC') CODEC(Delta(8), ZSTD(1))"
        ),
        old: concat!("DateTime('UTC') DEFAULT toDateTime(intDiv(", within!(), ", 1000000000), 'UTC')"),
        since: 1,
        told: false,
    },
    told("ts_ns", "Int64 CODEC(Delta(8), ZSTD(1))", "Int64"),
    told("kind", "LowCardinality(String)", "String"),
    told("trace_id", "UUID", "UUID"),
    told("session_id", "String CODEC(ZSTD(1))", "String"),
    told("run_id", "String CODEC(ZSTD(1))", "String"),
    told("span_id", "String CODEC(ZSTD(1))", "String"),
    told("parent_span_id", "String CODEC(ZSTD(1))", "String"),
    told("name", "LowCardinality(String)", "String"),
    told("status", "LowCardinality(String)", "String"),
    told("error", "String CODEC(ZSTD(1))", "String"),
    told("duration_ms", "Nullable(Float64)", "Nullable(Float64)"),
    told("provider", "LowCardinality(String)", "String"),
    told("model", "LowCardinality(String)", "String"),
    told("operation", "LowCardinality(String)", "String"),
    told("tool", "LowCardinality(String)", "String"),
    told("input_tokens", "Nullable(UInt64)", "Nullable(UInt64)"),
    told("cache_read_tokens", "Nullable(UInt64)", "Nullable(UInt64)"),
    told("cache_write_tokens", "Nullable(UInt64)", "Nullable(UInt64)"),
    told("output_tokens", "Nullable(UInt64)", "Nullable(UInt64)"),
    told("reasoning_tokens", "Nullable(UInt64)", "Nullable(UInt64)"),
    told("cost_usd", "Nullable(Float64)", "Nullable(Float64)"),
    told("cost_source", "LowCardinality(String)", "String"),
    told("error_type", "LowCardinality(String)", "String"),
    told("version", "LowCardinality(String)", "String"),
    told("input", "String CODEC(ZSTD(3))", "String"),
    told("output", "String CODEC(ZSTD(3))", "String"),
    told("attributes", "String CODEC(ZSTD(3))", "String"),
];

/// What people look one event up by, beside the sorting key.
const INDEXED: [&str; 3] = ["trace_id", "run_id", "session_id"];

/// The settings that the tables are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) database: String,
    pub(super) table: String,
    /// Empty: none.
    pub(super) cluster: String,
    pub(super) replicated: bool,
    pub(super) distributed: bool,
    /// With `{database}` and `{table}` to be filled in; other `{macros}` are the server's.
    pub(super) zookeeper_path: String,
    /// In hours; 0 keeps for ever.
    pub(super) ttl_hours: u64,
}

impl Layout {
    /// The table that is written to and read from.
    pub(super) fn table(&self) -> String {
        self.named(&self.table)
    }

    /// The table that holds the rows.
    pub(super) fn local(&self) -> String {
        if self.distributed { format!("{}_local", self.table) } else { self.table.clone() }
    }

    fn schema_table(&self) -> String {
        format!("{}_schema", self.table)
    }

    fn named(&self, table: &str) -> String {
        format!("`{}`.`{table}`", self.database)
    }

    /// For every node, where a cluster is named and the server's `ON CLUSTER` can be relied on.
    fn on_cluster(&self, dialect: Dialect) -> String {
        if self.cluster.is_empty() || dialect == Dialect::Old {
            return String::new();
        }
        format!(" ON CLUSTER `{}`", self.cluster)
    }

    /// `INSERT INTO …`, up to where the rows begin. The columns are named: what an operator added is left to its default.
    pub(super) fn insert(&self) -> String {
        let names: Vec<&str> = COLUMNS.iter().filter(|column| column.told).map(|column| column.name).collect();
        format!("INSERT INTO {} ({}) FORMAT JSONEachRow", self.table(), names.join(", "))
    }

    pub(super) fn create_database(&self, dialect: Dialect) -> String {
        format!("CREATE DATABASE IF NOT EXISTS `{}`{}", self.database, self.on_cluster(dialect))
    }

    /// The table of rows, as it was at `version` of the schema.
    pub(super) fn create_events(&self, dialect: Dialect, version: u32) -> String {
        let mut parts: Vec<String> =
            COLUMNS.iter().filter(|column| column.since <= version).map(|column| column.definition(dialect)).collect();
        if dialect == Dialect::Modern {
            parts.extend(INDEXED.map(|name| format!("INDEX by_{name} {name} TYPE bloom_filter(0.01) GRANULARITY 4")));
        }
        let mut end = String::new();
        if dialect == Dialect::Modern {
            if let Some(ttl) = self.ttl() {
                end.push_str(&format!("\nTTL {ttl}"));
            }
            if !self.replicated {
                end.push_str("\nSETTINGS non_replicated_deduplication_window = 1000");
            }
        }
        let local = self.local();
        format!(
            "CREATE TABLE IF NOT EXISTS {}{} (\n    {}\n) ENGINE = {}\nPARTITION BY toYYYYMM(ts)\n\
             ORDER BY (org_id, agent_id, toStartOfHour(ts), kind, trace_id){end}",
            self.named(&local),
            self.on_cluster(dialect),
            parts.join(",\n    "),
            self.engine(&local),
        )
    }

    /// The table over all shards.
    pub(super) fn create_distributed(&self, dialect: Dialect) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {}{} AS {}\nENGINE = Distributed('{}', '{}', '{}', cityHash64(agent_id))",
            self.table(),
            self.on_cluster(dialect),
            self.named(&self.local()),
            self.cluster,
            self.database,
            self.local(),
        )
    }

    pub(super) fn create_schema(&self, dialect: Dialect) -> String {
        let table = self.schema_table();
        format!(
            "CREATE TABLE IF NOT EXISTS {}{} (version UInt32, program String)\nENGINE = {}\nORDER BY version",
            self.named(&table),
            self.on_cluster(dialect),
            self.engine(&table),
        )
    }

    /// The newest version that was made; 0 where none was.
    pub(super) fn made_version(&self) -> String {
        format!("SELECT max(version) FROM {}", self.named(&self.schema_table()))
    }

    pub(super) fn record_version(&self, version: u32) -> String {
        let program = env!("CARGO_PKG_VERSION");
        format!("INSERT INTO {} (version, program) VALUES ({version}, '{program}')", self.named(&self.schema_table()))
    }

    /// The columns that `table` of this database has, one a line.
    pub(super) fn columns_of(&self, table: &str) -> String {
        format!(
            "SELECT name FROM system.columns WHERE database = '{}' AND table = '{table}' FORMAT TabSeparated",
            self.database
        )
    }

    /// The definition of the table of rows, as the server says it.
    pub(super) fn engine_of_local(&self) -> String {
        format!(
            "SELECT engine_full FROM system.tables WHERE database = '{}' AND name = '{}' FORMAT TabSeparatedRaw",
            self.database,
            self.local()
        )
    }

    pub(super) fn add_column(&self, dialect: Dialect, table: &str, column: &Column) -> String {
        let there = if dialect == Dialect::Modern { "IF NOT EXISTS " } else { "" };
        let (table, cluster) = (self.named(table), self.on_cluster(dialect));
        format!("ALTER TABLE {table}{cluster} ADD COLUMN {there}{}", column.definition(dialect))
    }

    /// What makes the table of rows forget as the settings say.
    pub(super) fn modify_ttl(&self) -> String {
        let (table, cluster) = (self.named(&self.local()), self.on_cluster(Dialect::Modern));
        match self.ttl() {
            Some(ttl) => format!("ALTER TABLE {table}{cluster} MODIFY TTL {ttl}"),
            None => format!("ALTER TABLE {table}{cluster} REMOVE TTL"),
        }
    }

    /// As the server writes it too.
    pub(super) fn ttl(&self) -> Option<String> {
        let interval = match self.ttl_hours {
            0 => return None,
            hours if hours.is_multiple_of(24) => format!("toIntervalDay({})", hours / 24),
            hours => format!("toIntervalHour({hours})"),
        };
        Some(format!("toDateTime(ts) + {interval}"))
    }

    /// All statements that make everything from nothing.
    #[cfg(test)]
    fn script(&self, dialect: Dialect) -> String {
        let mut statements =
            vec![self.create_database(dialect), self.create_schema(dialect), self.create_events(dialect, VERSION)];
        if self.distributed {
            statements.push(self.create_distributed(dialect));
        }
        statements.push(self.record_version(VERSION));
        statements.into_iter().map(|statement| statement + ";\n").collect::<Vec<_>>().join("\n")
    }

    fn engine(&self, table: &str) -> String {
        if !self.replicated {
            return "ReplacingMergeTree".to_owned();
        }
        let path = self.zookeeper_path.replace("{database}", &self.database).replace("{table}", table);
        format!("ReplicatedReplacingMergeTree('{path}', '{{replica}}')")
    }
}

impl Column {
    fn definition(&self, dialect: Dialect) -> String {
        let kind = if dialect == Dialect::Modern { self.modern } else { self.old };
        format!("{} {kind}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            database: "traces".to_owned(),
            table: "events".to_owned(),
            cluster: String::new(),
            replicated: false,
            distributed: false,
            zookeeper_path: "/clickhouse/tables/{shard}/{database}/{table}".to_owned(),
            ttl_hours: 90 * 24,
        }
    }

    #[test]
    fn one_table_holds_the_rows_and_forgets_as_it_is_told() {
        let script = layout().script(Dialect::Modern);
        for part in [
            "CREATE DATABASE IF NOT EXISTS `traces`;",
            "CREATE TABLE IF NOT EXISTS `traces`.`events` (",
            ") ENGINE = ReplacingMergeTree\nPARTITION BY toYYYYMM(ts)\nORDER BY (org_id, agent_id, toStartOfHour(ts), kind, trace_id)",
            "TTL toDateTime(ts) + toIntervalDay(90)\nSETTINGS non_replicated_deduplication_window = 1000;",
            "INSERT INTO `traces`.`events_schema` (version, program) VALUES (1,",
        ] {
            assert!(script.contains(part), "{part}\nis not in\n{script}");
        }
        assert!(!script.contains("ON CLUSTER") && !script.contains("Distributed") && !script.contains("_local"));
        let (forever, some) = (Layout { ttl_hours: 0, ..layout() }, Layout { ttl_hours: 36, ..layout() });
        assert!(!forever.script(Dialect::Modern).contains("TTL"));
        assert!(some.script(Dialect::Modern).contains("toIntervalHour(36)"));
    }

    #[test]
    fn the_page_for_operators_shows_what_is_made() {
        let page = include_str!("../../docs/clickhouse.md");
        let own = Layout { database: "openclaw".to_owned(), ..layout() };
        let record = own.record_version(VERSION) + ";\n";
        let script = own.script(Dialect::Modern).replace(&record, "");
        assert!(page.contains(script.trim_end()), "docs/clickhouse.md does not show this:\n{script}");
        let fleet = Layout { cluster: "fleet".to_owned(), replicated: true, distributed: true, ..own };
        let engine = format!("ENGINE = {}", fleet.engine("events"));
        for part in [engine, fleet.create_distributed(Dialect::Modern)] {
            assert!(page.contains(&part), "docs/clickhouse.md does not show this:\n{part}");
        }
    }

    #[test]
    fn a_cluster_has_a_table_over_all_shards_and_replicas_of_each() {
        let layout = Layout { cluster: "fleet".to_owned(), replicated: true, distributed: true, ..layout() };
        let script = layout.script(Dialect::Modern);
        for part in [
            "CREATE TABLE IF NOT EXISTS `traces`.`events_local` ON CLUSTER `fleet` (",
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/traces/events_local', '{replica}')",
            "CREATE TABLE IF NOT EXISTS `traces`.`events` ON CLUSTER `fleet` AS `traces`.`events_local`\nENGINE = Distributed('fleet', 'traces', 'events_local', cityHash64(agent_id))",
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/traces/events_schema', '{replica}')",
        ] {
            assert!(script.contains(part), "{part}\nis not in\n{script}");
        }
        assert!(!script.contains("non_replicated"));
    }

    #[test]
    fn an_old_server_gets_plain_types_and_one_node_at_a_time() {
        let layout = Layout { cluster: "fleet".to_owned(), replicated: true, distributed: true, ..layout() };
        let script = layout.script(Dialect::Old);
        for word in ["LowCardinality", "CODEC", "DateTime64", "TTL", "INDEX", "ON CLUSTER", "SETTINGS"] {
            assert!(!script.contains(word), "{word} in {script}");
        }
        assert!(script.contains("ts DateTime('UTC') DEFAULT toDateTime(intDiv("));
    }

    #[test]
    fn a_new_replica_begins_with_the_columns_that_the_others_have() {
        let before = layout().create_events(Dialect::Modern, VERSION - 1);
        assert!(!before.contains("org_id LowCardinality"), "no column came before the first version");
        assert!(layout().create_events(Dialect::Modern, VERSION).contains("org_id LowCardinality"));
    }
}
