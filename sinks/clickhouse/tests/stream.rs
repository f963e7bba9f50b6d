//! What is sent, what confirms it, and what happens where it is not.

use super::*;

#[tokio::test]
async fn the_first_insert_makes_the_tables_and_a_batch_is_confirmed_once_it_is_kept() {
    let server = Server::start(MODERN).await;
    let mut sink = sink(config(&[&server]));
    assert_eq!(write(&mut *sink, &["a", "b"]).await, None);
    assert_eq!(server.kept(), 2);
    assert_eq!(server.inside().schema, 1);
    let insert = server.inserts().remove(0);
    assert!(insert.sql.starts_with("INSERT INTO `openclaw`.`events` (org_id, agent_id, ts_ns,"), "{}", insert.sql);
    assert_eq!(insert.header("content-encoding"), "zstd");
    assert_eq!(insert.parameters["async_insert"], "0", "queued is not kept");
    assert_eq!(insert.parameters["wait_end_of_query"], "1");
    for asked in server.asked() {
        assert_eq!((asked.header("x-clickhouse-user"), asked.header("x-clickhouse-key")), ("writer", "hunter2"));
        assert!(!format!("{:?}", asked.parameters).contains("hunter2"));
    }
    let before = server.asked().len();
    assert_eq!(write(&mut *sink, &["c"]).await, None);
    assert_eq!(server.asked().len(), before + 1, "what is ready is not asked again");
}

#[tokio::test]
async fn a_repeat_is_the_same_bytes_under_the_same_token() {
    for (version, token) in [(MODERN, true), (OLD, false)] {
        let server = Server::start(version).await;
        let mut failures = 2;
        server.script(move |asked| {
            (asked.is_insert() && failures > 0).then(|| {
                failures -= 1;
                exception(252, "Too many parts (300)").unwrap()
            })
        });
        assert_eq!(write(&mut *sink(config(&[&server])), &["a", "b", "c"]).await, None);
        let inserts = server.inserts();
        assert_eq!(inserts.len(), 3);
        assert!(
            inserts.windows(2).all(|pair| pair[0].body == pair[1].body && pair[0].parameters == pair[1].parameters)
        );
        assert_eq!(inserts[0].parameters.contains_key("insert_deduplication_token"), token);
        assert_eq!(inserts[0].header("content-encoding"), if token { "zstd" } else { "gzip" });
    }
}

#[tokio::test]
async fn other_rows_under_the_same_identities_are_no_repeat() {
    let server = Server::start(MODERN).await;
    let mut sink = sink(config(&[&server]));
    let event = |agent: &str| Event {
        agent_id: Some(agent.to_owned()),
        trace_id: TraceId::from_bytes([7; 16]),
        ..Event::new(Kind::LOG)
    };
    for agent in ["agent-a", "agent-b"] {
        let credits = Admission::new(100, 100).try_acquire(1, 1).unwrap();
        let (batch, receipt) = Batch::new(vec![event(agent)], credits, false);
        sink.write(vec![batch]).await;
        assert_eq!(refused(receipt).await, None);
    }
    let tokens: Vec<_> =
        server.inserts().iter().map(|insert| insert.parameters["insert_deduplication_token"].clone()).collect();
    assert_ne!(tokens[0], tokens[1], "one agent cannot have another's rows taken for a repeat");
}

#[tokio::test]
async fn a_batch_that_is_not_kept_fails_and_its_sender_can_send_it_again() {
    let server = Server::start(MODERN).await;
    server.script(|asked| if asked.is_insert() { exception(241, "Memory limit exceeded") } else { None });
    let mut sink = sink(config(&[&server]));
    assert_eq!(write(&mut *sink, &["a"]).await, Some(RefusalKind::Failed));
    assert!(sink.gate().unwrap().borrow().is_some(), "sources refuse meanwhile");
    server.script(|_| None);
    assert_eq!(write(&mut *sink, &["a"]).await, None);
    assert!(sink.gate().unwrap().borrow().is_none());
}

#[tokio::test]
async fn a_200_that_is_not_an_inserts_answer_confirms_nothing() {
    for text in
        ["<html>sign in</html>", "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", "1"]
    {
        let server = Server::start(MODERN).await;
        server.script(move |asked| asked.is_insert().then(|| (200, text.to_owned())));
        assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, Some(RefusalKind::Failed), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_clickhouse_gets_no_events() {
    let server = Server::start("<html>sign in</html>").await;
    assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, Some(RefusalKind::Failed));
    assert!(server.inserts().is_empty() && server.statements("CREATE").is_empty());
}

#[tokio::test]
async fn a_row_that_is_refused_refuses_its_batch_and_no_other() {
    let server = Server::start(MODERN).await;
    server.script(|asked| {
        let guilty = asked.is_insert() && asked.has("guilty");
        if guilty { exception(41, "Cannot parse DateTime: a secret of the agent") } else { None }
    });
    let mut sink = sink(config(&[&server]));
    let (one, first) = batch(&["a", "b"]);
    let (two, second) = batch(&["c", "guilty", "d"]);
    sink.write(vec![one, two]).await;
    assert_eq!(refused(first).await, None);
    assert_eq!(refused(second).await, Some(RefusalKind::Refused));
    assert_eq!(server.kept(), 4, "all but the guilty one");
}

#[tokio::test]
async fn events_of_more_months_than_one_block_may_hold_are_sent_in_parts() {
    let server = Server::start(MODERN).await;
    server.script(|asked| {
        let many = asked.is_insert() && asked.rows.len() > 2;
        if many { exception(252, "Too many partitions for single INSERT block (more than 2)") } else { None }
    });
    assert_eq!(write(&mut *sink(config(&[&server])), &["a", "b", "c", "d", "e"]).await, None);
    assert_eq!(server.kept(), 5);
}

#[tokio::test]
async fn where_one_node_fails_the_next_is_asked_and_stays_in_use() {
    let (one, two) = (Server::start(MODERN).await, Server::start(MODERN).await);
    let mut sink = sink(config(&[&one, &two]));
    assert_eq!(write(&mut *sink, &["a"]).await, None);
    assert_eq!((one.kept(), two.kept()), (1, 0));
    assert!(two.inside().tables.contains_key("events"), "every node has its replica");
    one.script(|_| Some((503, String::new())));
    assert_eq!(write(&mut *sink, &["b"]).await, None);
    one.script(|_| None);
    assert_eq!(write(&mut *sink, &["c"]).await, None);
    assert_eq!((one.kept(), two.kept()), (1, 2));
    let tokens = |server: &Server| server.inserts().last().unwrap().parameters["insert_deduplication_token"].clone();
    assert_eq!(
        tokens(&one),
        two.inserts()[0].parameters["insert_deduplication_token"],
        "the same batch, to be recognised"
    );
}

#[tokio::test]
async fn a_node_that_is_down_or_hangs_is_passed_over() {
    let up = Server::start(MODERN).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    for bad in ["http://127.0.0.1:1", &hanging] {
        let endpoints = vec![bad.to_owned(), up.url()];
        let mut sink = sink(ClickHouse { endpoints, replicated: true, ..config(&[&up]) });
        assert_eq!(write(&mut *sink, &["a"]).await, None, "{bad}");
    }
    assert_eq!(up.kept(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_the_batch_fails() {
    let server = Server::start(MODERN).await;
    server.script(|_| {
        Some((401, "Code: 516. DB::Exception: writer: Authentication failed. (AUTHENTICATION_FAILED)".into()))
    });
    assert_eq!(write(&mut *sink(config(&[&server])), &["a"]).await, Some(RefusalKind::Failed));
    assert_eq!(server.asked().len(), 1, "more tries change nothing");
}

#[tokio::test]
async fn a_quorum_is_asked_for_where_one_is_set() {
    let (one, two) = (Server::start(OLD).await, Server::start(OLD).await);
    let mut sink = sink(ClickHouse { insert_quorum: 2, ..config(&[&one, &two]) });
    assert_eq!(write(&mut *sink, &["a"]).await, None);
    assert_eq!(one.inserts()[0].parameters["insert_quorum"], "2");
}
