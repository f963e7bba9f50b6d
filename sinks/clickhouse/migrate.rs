//! Makes a node ready: what it is, whether its tables are as this program needs them, and, where it may, that they become so.
//!
//! Every statement can be sent again: another gateway may do the same at the same moment, and a failure half way is taken up
//! from the beginning. A node's tables are made by asking that node, so every endpoint gets its replica; beyond the
//! endpoints, `ON CLUSTER` reaches.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::answer::{self, Meaning};
use super::dialect::Dialect;
use super::layout::{COLUMNS, Column, Layout, VERSION};
use super::node::Node;
use crate::delivery::{Transport, Verdict, excerpt};

/// Asks one node.
pub(super) struct Migration<'a> {
    pub(super) node: &'a Node,
    pub(super) layout: &'a Layout,
    /// Whether tables may be made and changed.
    pub(super) create: bool,
    pub(super) transport: &'a mut dyn Transport,
}

impl Migration<'_> {
    /// # Errors
    /// Why the node cannot take events now.
    pub(super) async fn run(mut self) -> Result<Dialect, Verdict> {
        let version = self.ask("SELECT version()").await?;
        let Some(dialect) = Dialect::of(&version) else {
            return Err(Verdict::Wrong { reason: format!("{}: this is no ClickHouse: check endpoints", self.node) });
        };
        if self.create {
            self.ask(&self.layout.create_database(dialect)).await?;
            self.ask(&self.layout.create_schema(dialect)).await?;
        }
        let made = self.made_version().await?;
        if made > VERSION {
            let table = self.layout.table();
            return Err(Verdict::Wrong {
                reason: format!(
                    "{}: {table} is of schema {made}, which a newer openclaw-trace made; this one knows {VERSION}: update it",
                    self.node
                ),
            });
        }
        if self.create {
            // A new replica must begin with the columns that the others have.
            let begin_with = if made == 0 { VERSION } else { made };
            self.ask(&self.layout.create_events(dialect, begin_with)).await?;
        }
        self.see_to_columns(dialect, &self.layout.local()).await?;
        if self.layout.distributed {
            if self.create {
                self.ask(&self.layout.create_distributed(dialect)).await?;
            }
            self.see_to_columns(dialect, &self.layout.table).await?;
        }
        if self.create && made < VERSION {
            self.ask(&self.layout.record_version(VERSION)).await?;
        }
        self.compare_ttl(dialect).await?;
        info!(node = %self.node, version = version.trim(), table = self.layout.table(), "ClickHouse is ready");
        Ok(dialect)
    }

    async fn made_version(&mut self) -> Result<u32, Verdict> {
        match self.answer(&self.layout.made_version()).await? {
            Meaning::Done(text) => text.trim().parse().map_err(|_| Verdict::Wrong {
                reason: format!("{}: the version of the schema is not a number: check endpoints", self.node),
            }),
            // Tables that somebody else made need no such record.
            Meaning::Missing { .. } if !self.create => Ok(0),
            other => Err(self.verdict(other)),
        }
    }

    /// Adds the columns that a table lacks, or says them.
    async fn see_to_columns(&mut self, dialect: Dialect, table: &str) -> Result<(), Verdict> {
        let text = self.ask(&self.layout.columns_of(table)).await?;
        let there: BTreeSet<&str> = text.lines().collect();
        let missing: Vec<Column> = COLUMNS.into_iter().filter(|column| !there.contains(column.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        if !self.create || there.is_empty() {
            let what = if there.is_empty() { "is missing".to_owned() } else { format!("lacks the columns {names}") };
            let database = &self.layout.database;
            return Err(Verdict::Later {
                reason: format!(
                    "{}: the table {database}.{table} {what}, and create_tables is false: make it (docs/clickhouse.md has the SQL)",
                    self.node
                ),
                retry_after: None,
            });
        }
        info!(node = %self.node, table, columns = names, "adding columns");
        for column in &missing {
            self.ask(&self.layout.add_column(dialect, table, column)).await?;
        }
        Ok(())
    }

    /// A table keeps the TTL that it was made with: what deletes events is a person's decision.
    async fn compare_ttl(&mut self, dialect: Dialect) -> Result<(), Verdict> {
        if !self.create {
            return Ok(());
        }
        let Some(wanted) = self.layout.ttl() else { return Ok(()) };
        if dialect == Dialect::Old {
            warn!(node = %self.node, "this server is too old for ttl: drop old months by hand (ALTER TABLE … DROP PARTITION)");
            return Ok(());
        }
        let engine = self.ask(&self.layout.engine_of_local()).await?;
        if !engine.contains(&wanted) {
            let statement = self.layout.modify_ttl();
            warn!(node = %self.node, statement, "the table has another ttl than the settings; where it shall change, run this");
        }
        Ok(())
    }

    /// The answer to a statement that must succeed.
    async fn ask(&mut self, statement: &str) -> Result<String, Verdict> {
        match self.answer(statement).await? {
            Meaning::Done(text) => Ok(text),
            other => Err(self.verdict(other)),
        }
    }

    async fn answer(&mut self, statement: &str) -> Result<Meaning, Verdict> {
        let request = self.node.statement(statement);
        match self.transport.post(request).await {
            Err(reason) => Err(Verdict::Later { reason: format!("{}: {reason}", self.node), retry_after: None }),
            Ok(reply) => {
                let meaning = answer::read(&reply);
                if !matches!(meaning, Meaning::Done(_)) {
                    // No event is in a statement, so the server's own words can be told.
                    let said = excerpt(&String::from_utf8_lossy(&reply.body));
                    let head = statement.lines().next().unwrap_or_default();
                    warn!(node = %self.node, statement = head, answer = said, "ClickHouse did not do it");
                }
                Ok(meaning)
            }
        }
    }

    /// Why the node cannot take events.
    fn verdict(&self, meaning: Meaning) -> Verdict {
        let at = |reason: String| format!("{}: {reason}", self.node);
        match meaning {
            Meaning::Missing { reason } => Verdict::Later { reason: at(reason), retry_after: None },
            Meaning::Not(Verdict::Later { reason, retry_after }) => Verdict::Later { reason: at(reason), retry_after },
            Meaning::Not(Verdict::Denied { reason }) => Verdict::Denied { reason: at(reason) },
            Meaning::Not(Verdict::Refused { reason, .. } | Verdict::Wrong { reason }) => {
                Verdict::Wrong { reason: at(reason) }
            }
            Meaning::Done(_) | Meaning::Not(Verdict::Confirmed(_)) => {
                Verdict::Wrong { reason: at("answered with something else than was asked for".to_owned()) }
            }
        }
    }
}
