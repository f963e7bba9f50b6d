//! As much of a ClickHouse as the sink speaks to: tables by name with their columns, rows as they were sent, and errors on
//! demand. Used by the tests of the sink and by those of the program.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub sql: String,
    pub parameters: HashMap<String, String>,
    pub headers: HeaderMap,
    /// The body of an insert, as it came over the wire.
    pub body: Vec<u8>,
    pub rows: Vec<Value>,
}

impl Asked {
    pub fn is_insert(&self) -> bool {
        self.sql.ends_with("FORMAT JSONEachRow")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row["name"] == name)
    }
}

/// Answers with a status and a text, instead of what was asked for; `None`: as it should.
type Script = Box<dyn FnMut(&Asked) -> Option<(u16, String)> + Send>;

pub struct Inside {
    pub version: String,
    pub tables: BTreeMap<String, Vec<String>>,
    /// Of the table of rows.
    pub engine: String,
    /// The newest version of the schema, as `TABLE_schema` has it.
    pub schema: u32,
    /// Rows that were taken.
    pub kept: Vec<Value>,
    pub asked: Vec<Asked>,
    script: Script,
}

/// See the module's description. Ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

/// An error as a server of today words it.
pub fn exception(code: u32, text: &str) -> Option<(u16, String)> {
    Some((500, format!("Code: {code}. DB::Exception: {text}. (SOME_NAME) (version 26.9.2.1)\n")))
}

impl Server {
    pub async fn start(version: &str) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), version).await
    }

    pub async fn start_at(address: SocketAddr, version: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let inside = Inside {
            version: version.to_owned(),
            tables: BTreeMap::new(),
            engine: String::new(),
            schema: 0,
            kept: Vec::new(),
            asked: Vec::new(),
            script: Box::new(|_| None),
        };
        let server = Self { address: listener.local_addr().unwrap(), inside: Arc::new(Mutex::new(inside)) };
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub fn script(&self, script: impl FnMut(&Asked) -> Option<(u16, String)> + Send + 'static) {
        self.inside().script = Box::new(script);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inside().asked.clone()
    }

    pub fn inserts(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(Asked::is_insert).collect()
    }

    /// Statements that begin so.
    pub fn statements(&self, begin: &str) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.sql).filter(|sql| sql.starts_with(begin)).collect()
    }

    /// Rows that were taken, repeats too.
    pub fn kept(&self) -> usize {
        self.inside().kept.len()
    }
}

async fn answer(
    State(server): State<Server>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut asked = Asked { sql: String::new(), parameters, headers, body: body.to_vec(), rows: Vec::new() };
    let plain = match asked.header("content-encoding") {
        "zstd" => zstd::stream::decode_all(&body[..]).unwrap(),
        "gzip" => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        _ => body.to_vec(),
    };
    let text = String::from_utf8(plain).unwrap();
    match asked.parameters.get("query") {
        Some(query) => {
            asked.sql.clone_from(query);
            asked.rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        None => asked.sql = text,
    }
    let mut inside = server.inside();
    inside.asked.push(asked.clone());
    let scripted = (inside.script)(&asked);
    let (status, text) = scripted.unwrap_or_else(|| inside.carry_out(&asked));
    (StatusCode::from_u16(status).unwrap(), text).into_response()
}

impl Inside {
    fn carry_out(&mut self, asked: &Asked) -> (u16, String) {
        let sql = asked.sql.as_str();
        let done = (200, String::new());
        // `db`.`table`, without the quotes.
        let names: Vec<&str> = sql.split('`').skip(1).step_by(2).collect();
        let table = names.get(1).copied().unwrap_or_default().to_owned();
        let missing =
            |table: &str| (404, format!("Code: 60. DB::Exception: Table {table} does not exist. (UNKNOWN_TABLE)"));
        if sql.starts_with("SELECT version()") {
            return (200, format!("{}\n", self.version));
        }
        if sql.starts_with("CREATE TABLE") {
            let columns = match sql.find(" AS `") {
                Some(_) => self.tables.get(names[names.len() - 1]).cloned().unwrap_or_default(),
                None => {
                    let lines = sql.lines().skip(1).take_while(|line| line.starts_with("    "));
                    lines
                        .filter_map(|line| line.split_whitespace().next())
                        .filter(|word| *word != "INDEX")
                        .map(str::to_owned)
                        .collect()
                }
            };
            if !table.ends_with("_schema") && !sql.contains("Distributed(") {
                self.engine = sql.rsplit_once(") ENGINE = ").map_or("", |(_, engine)| engine).replace('\n', " ");
            }
            self.tables.entry(table).or_insert(columns);
            return done;
        }
        if sql.starts_with("CREATE DATABASE") {
            return done;
        }
        if sql.starts_with("SELECT max(version)") {
            return if self.tables.contains_key(&table) {
                (200, format!("{}\n", self.schema))
            } else {
                missing(&table)
            };
        }
        if sql.contains("FROM system.columns") {
            let table = sql.rsplit('\'').nth(1).unwrap();
            let columns = self.tables.get(table).map(|columns| columns.join("\n")).unwrap_or_default();
            return (200, columns + "\n");
        }
        if sql.contains("FROM system.tables") {
            return (200, self.engine.clone() + "\n");
        }
        if sql.starts_with("ALTER TABLE") {
            let column = sql.split("ADD COLUMN ").nth(1).unwrap().trim_start_matches("IF NOT EXISTS ");
            let column = column.split(' ').next().unwrap().to_owned();
            let Some(columns) = self.tables.get_mut(&table) else { return missing(&table) };
            columns.push(column);
            return done;
        }
        let Some(columns) = self.tables.get(&table) else { return missing(&table) };
        if let Some((_, values)) = sql.split_once(" VALUES (") {
            self.schema = values.split(',').next().unwrap().parse().unwrap();
            return done;
        }
        assert!(asked.is_insert(), "not understood: {sql}");
        for row in &asked.rows {
            for name in row.as_object().unwrap().keys() {
                assert!(columns.contains(name), "no column {name}");
            }
        }
        self.kept.extend(asked.rows.iter().cloned());
        done
    }
}
