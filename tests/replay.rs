//! Events read from files and sent to an instance again: none is lost, none is doubled, what is wrong is named.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    FOLDERS, Home, Output, Request, Setup, Sidecar, captures, event, eventually, get, id_of, marked, ndjson, post,
    stored, stored_ids,
};

fn export(home: &Home) -> String {
    let output = home.bare().arg("export").arg("--db").arg(home.db()).output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout
}

fn replay(home: &Home, args: &[&str]) -> Setup {
    args.iter().fold(home.bare().arg("replay"), |setup, arg| setup.arg(*arg))
}

fn to(sidecar: &Sidecar) -> String {
    format!("http://{}", sidecar.ingest)
}

/// Without blocking the runtime that the test's own servers may need.
async fn output(setup: Setup) -> Output {
    tokio::task::spawn_blocking(move || setup.output()).await.unwrap()
}

/// Events of every sort: those of OpenClaw's exporter, and some thousand of our own.
async fn with_events(home: &Home) -> String {
    let sidecar = home.setup().keep_forever().start().await;
    for folder in FOLDERS {
        for capture in captures(folder) {
            eventually("taken", async || post(sidecar.ingest, &capture.request(false)).await.status == 200).await;
        }
    }
    let mut hostile = event();
    hostile["name"] = "a\u{0}\u{1b}[2J\u{202e}\"\\\n".into();
    hostile["input"] = json!({"zero \u{0}": [1, 2.5, null, {"deep": "\u{2028}"}], "n": 1e300});
    let events: Vec<Value> = (0..2000).map(|at| marked(&at.to_string())).chain([hostile]).collect();
    for part in events.chunks(100) {
        let request = Request::lines(ndjson(part));
        eventually("taken", async || post(sidecar.ingest, &request).await.status == 200).await;
    }
    sidecar.stop().await;
    export(home)
}

#[tokio::test]
async fn an_export_replayed_into_another_instance_is_the_same_export_there_in_each_way() {
    let here = Home::new();
    let exported = with_events(&here).await;
    let count = exported.lines().count();
    assert!(count > 2050, "{count}");
    std::fs::write(here.path("all.ndjson"), &exported).unwrap();
    std::fs::write(here.path("all.zst"), zstd::encode_all(exported.as_bytes(), 3).unwrap()).unwrap();
    let half = exported.lines().take(count / 2).map(|line| line.len() + 1).sum();
    std::fs::write(here.path("1.ndjson"), &exported[..half]).unwrap();
    std::fs::write(here.path("2.ndjson"), &exported[half..]).unwrap();

    for (way, args, stdin) in [
        ("a file", &["all.ndjson"][..], false),
        ("a packed file", &["all.zst"], false),
        ("several files", &["1.ndjson", "2.ndjson"], false),
        ("standard input", &[], true),
    ] {
        let there = Home::new();
        // What assembling learns later it told by links; with other batches it may know it sooner.
        let assembled = there.setup().keep_forever().set("transforms.assemble.enabled", "false");
        let sidecar = assembled.start().await;
        let mut setup = replay(&here, args).arg("--to").arg(to(&sidecar));
        if stdin {
            setup = setup.stdin(exported.clone());
        }
        let done = output(setup.clone()).await;
        assert_eq!(done.code, Some(0), "{way}: {}", done.stderr);
        assert!(done.stderr.is_empty(), "no bar where there is no terminal: {}", done.stderr);
        let said = done.stdout.replace(',', "");
        assert_eq!(said, format!("{count} events sent: {count} stored 0 there before; 0 lines rejected\n"), "{way}");
        assert_eq!(export(&there), exported, "{way}");
        // Once more: everything is known.
        let again = output(setup).await;
        assert!(again.stdout.contains(": 0 stored, "), "{way}: {}", again.stdout);
        sidecar.stop().await;
        assert_eq!(export(&there), exported, "{way}");
    }
    // Into a database, with and without an instance on it.
    let there = Home::new();
    let into = replay(&here, &["all.zst", "--db"]).arg(there.db());
    assert_eq!(output(into.clone()).await.code, Some(0));
    assert_eq!(export(&there), exported);
    let sidecar = there.setup().keep_forever().start().await;
    let beside = output(into).await;
    assert!(beside.stdout.contains(": 0 stored, "), "{} {}", beside.stdout, beside.stderr);
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test]
async fn an_instance_that_assembles_what_was_assembled_adds_what_it_knows_and_changes_nothing() {
    let (here, there) = (Home::new(), Home::new());
    let exported = with_events(&here).await;
    let sidecar = there.setup().keep_forever().start().await;
    let done = output(replay(&here, &["--to"]).arg(to(&sidecar)).stdin(exported.clone())).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    sidecar.stop().await;
    let events = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let (before, after) = (events(&exported), events(&export(&there)));
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        for (field, value) in before.as_object().unwrap() {
            assert_eq!(&after[field], value, "{field} of {before}");
        }
    }
}

#[tokio::test]
async fn what_names_no_identity_is_stored_once_however_often_it_is_replayed() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    // The same line twice is two events.
    let line = "{\"kind\":\"log\",\"name\":\"again\"}\n";
    std::fs::write(home.path("a"), line.repeat(2)).unwrap();
    for _ in 0..3 {
        // Under another name it is the same text.
        std::fs::copy(home.path("a"), home.path("b")).unwrap();
        let done = output(replay(&home, &["a", "b"]).arg("--to").arg(to(&sidecar))).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 2);
}

#[tokio::test]
async fn a_line_that_is_rejected_is_named_and_the_others_are_kept() {
    let home = Home::new();
    // The port takes less than this reads.
    let sidecar = home.setup().set("sources.http.max_body", "64KiB").start().await;
    let mut large = event();
    let noise: String =
        (0..100_000).map(|at: u32| char::from(b'!' + (at.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    large["output"] = noise.into();
    let mut lines: Vec<String> = (0..300).map(|_| event().to_string()).collect();
    lines[10] = "{\"kind\":".to_owned();
    lines[20] = String::new();
    lines[30] = large.to_string();
    lines[40] = "{\"kind\":\"No Kind\"}".to_owned();
    std::fs::write(home.path("in"), lines.join("\n")).unwrap();
    let done = output(replay(&home, &["in", "--to"]).arg(to(&sidecar))).await;
    assert_eq!(done.code, Some(1));
    assert!(done.stdout.is_empty());
    for said in [
        "in:11: EOF while parsing a value at column 8\n",
        "in:31: 413: the body is larger than",
        "in:41: kind must be 1 to 64",
    ] {
        assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
    }
    assert!(
        done.stderr.ends_with("296 events sent: 296 stored, 0 there before; 3 lines rejected\n"),
        "{}",
        done.stderr
    );
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 296);
}

#[tokio::test]
async fn a_dry_run_reads_everything_and_sends_nothing() {
    let home = Home::new();
    std::fs::write(home.path("good"), ndjson(&[event(), event()])).unwrap();
    std::fs::write(home.path("bad"), "x\n").unwrap();
    let good = replay(&home, &["good", "good", "--dry-run"]).output();
    assert_eq!(
        (good.code, good.stdout.as_str()),
        (Some(0), "4 events in 2 files, 0 lines rejected; nothing was sent\n")
    );
    let bad = replay(&home, &["good", "bad", "--dry-run"]).output();
    assert_eq!(bad.code, Some(1));
    assert_eq!(
        bad.stderr,
        "bad:1: expected value at column 1\n2 events in 2 files, 1 line rejected; nothing was sent\n"
    );
}

#[tokio::test]
async fn an_instance_that_asks_to_wait_is_waited_for() {
    let home = Home::new();
    let sidecar =
        home.setup().set("sources.http.rate_limit", "200").set("sources.http.rate_burst", "100").start().await;
    let events: Vec<_> = (0..600).map(|_| event()).collect();
    let done = output(replay(&home, &["--to"]).arg(to(&sidecar)).stdin(ndjson(&events))).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let metrics = get(sidecar.api, "/metrics").await.text();
    assert!(metrics.contains("ingest_requests_total{component=\"http\",status=\"429\"}"), "{metrics}");
    sidecar.stop().await;
    assert_eq!(stored_ids(&home.db()), events.iter().map(id_of).collect());
}

#[tokio::test]
async fn an_instance_that_is_killed_meanwhile_has_everything_once_when_it_is_back() {
    let home = Home::new();
    let mut sidecar = home.setup().start().await;
    let (address, setup) = (sidecar.ingest, home.setup().set("sources.http.bind", &sidecar.ingest.to_string()));
    let events: Vec<_> = (0..3000).map(|_| event()).collect();
    let sending = replay(&home, &["--rate", "1500", "--to"]).arg(format!("http://{address}")).stdin(ndjson(&events));
    let sending = tokio::task::spawn_blocking(move || sending.output());
    for at in [500, 1500] {
        eventually("a part is stored", async || stored_ids(&home.db()).len() > at).await;
        sidecar.signal(Signal::KILL);
        assert_eq!(sidecar.exit_code().await, None, "it was killed");
        tokio::time::sleep(Duration::from_millis(300)).await;
        sidecar = setup.start().await;
    }
    let done = sending.await.unwrap();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    sidecar.stop().await;
    let ids: Vec<_> = stored(&home.db()).iter().map(|event| event.trace_id).collect();
    assert_eq!(ids, events.iter().map(id_of).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test]
async fn an_instance_that_takes_nothing_for_too_long_is_given_up_and_said() {
    let home = Home::new();
    // More than any volume has free: the store refuses.
    let sidecar = home.setup().set("sinks.store.disk_reserve", "8000000GiB").start().await;
    let done = output(replay(&home, &["--patience", "1s", "--to"]).arg(to(&sidecar)).stdin(ndjson(&[event()]))).await;
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("takes nothing for 1.0 s: 503: ") && done.stderr.contains("--patience"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.ends_with("0 events sent: 0 stored, 0 there before; 0 lines rejected\n"), "{}", done.stderr);
    let gone = to(&sidecar);
    sidecar.stop().await;
    let nobody = output(replay(&home, &["--to", &gone]).stdin(ndjson(&[event()]))).await;
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("is openclaw-trace running?"), "{}", nobody.stderr);
}

#[tokio::test]
async fn a_token_comes_from_a_variable_or_a_file_and_is_never_shown() {
    let home = Home::new();
    let secret = format!("tok-{}", uuid::Uuid::now_v7());
    let sidecar = home.setup().env("TRACE_INGEST_TOKEN", &secret).start().await;
    let address = to(&sidecar);
    let replay = |setup: Setup| output(setup.arg("replay").arg("--to").arg(&address).stdin(ndjson(&[event()])));
    let without = replay(home.bare()).await;
    assert_eq!(without.code, Some(1));
    assert!(
        without.stderr.contains("401") && without.stderr.contains("token is missing or wrong"),
        "{}",
        without.stderr
    );
    let by_variable = replay(home.bare().env("TRACE_INGEST_TOKEN", &secret)).await;
    assert_eq!(by_variable.code, Some(0), "{}", by_variable.stderr);
    std::fs::write(home.path("token"), format!("{secret}\n")).unwrap();
    let by_file = output(
        home.bare().arg("replay").arg("--token-file").arg("token").arg("--to").arg(&address).stdin(ndjson(&[event()])),
    )
    .await;
    assert_eq!(by_file.code, Some(0), "{}", by_file.stderr);
    let wrong = replay(home.bare().env("TRACE_INGEST_TOKEN", &format!("{secret}x"))).await;
    assert_eq!(wrong.code, Some(1));
    assert!(!wrong.stderr.contains(&secret), "{}", wrong.stderr);
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 2);
}

#[tokio::test]
async fn the_port_is_that_of_the_configuration_where_none_is_named() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let port = sidecar.ingest.port().to_string();
    let done = output(home.bare().env("TRACE_PORT", &port).arg("replay").stdin(ndjson(&[event()]))).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1);
}

#[tokio::test]
async fn wrong_usage_is_said_before_anything_is_sent() {
    let home = Home::new();
    std::fs::write(home.path("good"), ndjson(&[event()])).unwrap();
    for (args, code, said) in [
        (&["good", "none"][..], 1, "cannot read none: No such file"),
        (&["."], 1, "cannot read .: "),
        (&["good", "--to", "127.0.0.1:9090"], 2, "--to "),
        (&["good", "--to", "http://x", "--db", "x.db"], 2, "cannot be used with"),
        (&["good", "--rate", "0"], 2, "events a second"),
        (&["good", "--rate", "5", "--original-pace"], 2, "cannot be used with"),
        (&["good", "--token-file", "none"], 2, "cannot read none"),
    ] {
        let refused = replay(&home, args).output();
        assert_eq!(refused.code, Some(code), "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
    assert!(!home.path("x.db").exists());
}

#[tokio::test]
async fn what_a_database_gets_is_redacted() {
    let home = Home::new();
    let line = json!({"kind": "log", "output": "write to jane.doe@example.com"});
    let done = replay(&home, &["--db"]).arg(home.db()).stdin(format!("{line}\n")).output();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let kept = stored(&home.db())[0].output.clone().unwrap();
    assert!(kept.contains("[redacted:email]"), "{kept}");
}

#[tokio::test]
async fn a_packed_file_that_is_cut_is_said_and_what_was_whole_is_sent() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let events: Vec<_> = (0..2000).map(|_| event()).collect();
    let packed = zstd::encode_all(ndjson(&events).as_slice(), 1).unwrap();
    std::fs::write(home.path("in.zst"), &packed[..packed.len() - 10]).unwrap();
    let done = output(replay(&home, &["in.zst", "--to"]).arg(to(&sidecar))).await;
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("in.zst: it is compressed, and ends in the middle"), "{}", done.stderr);
    sidecar.stop().await;
    let kept = stored_ids(&home.db()).len();
    assert!(kept > 0 && kept < 2000, "{kept}");
}

#[tokio::test]
async fn the_pauses_between_events_can_be_kept() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    // Two seconds apart: the second is not sent with the first.
    let events: Vec<_> = (0..2)
        .map(|at| {
            let mut event = event();
            event["timestamp"] = (1_764_000_000_000_i64 + at * 2000).into();
            event
        })
        .collect();
    let sending = replay(&home, &["--original-pace", "--to"]).arg(to(&sidecar)).stdin(ndjson(&events));
    let done = output(sending).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    // Two requests, where one would have held both.
    let metrics = get(sidecar.api, "/metrics").await.text();
    assert!(metrics.contains("ingest_requests_total{component=\"http\",status=\"200\"} 2"), "{metrics}");
    sidecar.stop().await;
    assert_eq!(stored_ids(&home.db()), events.iter().map(id_of).collect());
}
