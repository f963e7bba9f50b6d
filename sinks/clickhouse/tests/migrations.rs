//! Tables that are missing, older, newer, or somebody else's.

use super::super::layout::VERSION;
use super::*;

#[tokio::test]
async fn a_table_that_was_dropped_is_made_again_and_the_batch_kept() {
    let server = Server::start(MODERN).await;
    let mut sink = sink(config(&[&server]));
    assert_eq!(write(&mut *sink, &["a"]).await, None);
    server.inside().tables.clear();
    assert_eq!(write(&mut *sink, &["b"]).await, None);
    assert_eq!(server.kept(), 2);
}

#[tokio::test]
async fn columns_that_an_earlier_version_did_not_have_are_added() {
    for (version, statement) in [(MODERN, "ADD COLUMN IF NOT EXISTS output"), (OLD, "ADD COLUMN output")] {
        let server = Server::start(version).await;
        assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, None);
        {
            let mut inside = server.inside();
            inside.tables.get_mut("events").unwrap().retain(|column| column != "output" && column != "tool");
            inside.schema = 0;
            inside.asked.clear();
        }
        assert_eq!(write(&mut *sink(config(&[&server])), &["b"]).await, None);
        let added = server.statements("ALTER TABLE");
        assert_eq!(added.len(), 2, "{added:?}");
        assert!(added[1].contains(statement), "{added:?}");
        assert_eq!(server.inside().schema, VERSION);
    }
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let server = Server::start(MODERN).await;
    assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, None);
    {
        let mut inside = server.inside();
        inside.schema = VERSION + 1;
        inside.asked.clear();
    }
    assert_eq!(write(&mut *sink(config(&[&server])), &["b"]).await, Some(RefusalKind::Failed));
    assert_eq!(server.kept(), 1);
    assert!(server.statements("ALTER").is_empty() && server.statements("INSERT").is_empty());
}

#[tokio::test]
async fn where_tables_may_not_be_made_what_is_missing_is_said_and_nothing_made() {
    let server = Server::start(MODERN).await;
    let own = ClickHouse { create_tables: false, ..config(&[&server]) };
    assert_eq!(write(&mut *sink(own.clone()), &["a"]).await, Some(RefusalKind::Failed));
    assert!(server.statements("CREATE").is_empty());
    // Somebody made it, without our record of versions.
    assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, None);
    server.inside().tables.remove("events_schema");
    server.inside().asked.clear();
    assert_eq!(write(&mut *sink(own), &["b"]).await, None);
    assert!(server.statements("CREATE").is_empty() && server.statements("ALTER").is_empty());
}

#[tokio::test]
async fn a_table_over_all_shards_gets_its_columns_too() {
    let server = Server::start(MODERN).await;
    let spread = ClickHouse { distributed: true, cluster: "fleet".to_owned(), ..config(&[&server]) };
    assert_eq!(write(&mut *sink(spread.clone()), &["a"]).await, None);
    for table in ["events", "events_local"] {
        server.inside().tables.get_mut(table).unwrap().retain(|column| column != "version");
    }
    assert_eq!(write(&mut *sink(spread), &["b"]).await, None);
    let added = server.statements("ALTER TABLE");
    assert_eq!(added.len(), 2, "{added:?}");
    assert!(added.iter().all(|statement| statement.contains("ON CLUSTER `fleet`")), "{added:?}");
    assert_eq!(server.inserts()[0].parameters["insert_distributed_sync"], "1", "kept by the shard, not only taken");
}

#[tokio::test]
async fn a_table_with_another_ttl_keeps_it() {
    let server = Server::start(MODERN).await;
    assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, None);
    let shorter = ClickHouse { ttl: Time::seconds(7 * 86_400), ..config(&[&server]) };
    assert_eq!(write(&mut *sink(shorter), &["b"]).await, None);
    assert!(server.statements("ALTER").is_empty(), "what deletes events is a person's decision");
}

#[tokio::test]
async fn a_node_that_was_down_at_first_gets_its_tables_when_it_is_back() {
    let up = Server::start(MODERN).await;
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    let endpoints = vec![up.url(), format!("http://{address}")];
    let config = ClickHouse { endpoints, replicated: true, ..config(&[&up]) };
    let (settings, mut sender) = config.check(&BuildContext::new("fleet")).unwrap();
    let mut http = crate::delivery::Http::new(None, settings.timeout);
    drop(reserved);
    crate::delivery::Protocol::prepare(&mut sender, &mut http).await.unwrap();
    let back = Server::start_at(address, MODERN).await;
    crate::delivery::Protocol::prepare(&mut sender, &mut http).await.unwrap();
    assert!(back.asked().is_empty(), "it is not asked before each batch");
    sender.nodes[1].look = Some(tokio::time::Instant::now());
    crate::delivery::Protocol::prepare(&mut sender, &mut http).await.unwrap();
    assert!(back.inside().tables.contains_key("events"));
}
