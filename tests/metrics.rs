//! `/metrics`: what Prometheus reads, and nothing that must not be told.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use support::{Behaviour, Home, Receiver, Request, array, eventually, get, marked, post, stored};

/// One line with a value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// One name, its type and its lines.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `name{label="value",...} value`, as the text format defines it.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line:?}"));
    let value = value.parse().unwrap_or_else(|_| panic!("the value is no number: {line:?}"));
    let Some((name, rest)) = series.split_once('{') else {
        assert!(is_name(series), "no name: {line:?}");
        return Sample { name: series.to_owned(), labels: BTreeMap::new(), value };
    };
    assert!(is_name(name), "no name: {line:?}");
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("the labels do not end: {line:?}"));
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line:?}"));
        assert!(is_name(label), "no label: {line:?}");
        let end = behind.find('"').unwrap_or_else(|| panic!("a label does not end: {line:?}"));
        let text = &behind[..end];
        assert!(!text.contains(['\\', '\n']), "no label of ours needs an escape: {line:?}");
        assert!(labels.insert(label.to_owned(), text.to_owned()).is_none(), "a label twice: {line:?}");
        rest = &behind[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Sample { name: name.to_owned(), labels, value }
}

/// Reads the whole text, and fails at whatever the format does not allow.
fn families(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut now = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line:?}"));
            now = name.to_owned();
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert!(families.insert(now.clone(), family).is_none(), "a family in two places: {line:?}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line:?}"));
            assert_eq!(name, now, "the type stands behind the help of the same family");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line:?}");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let sample = sample(line);
            let family = families.get_mut(&now).unwrap_or_else(|| panic!("no family: {line:?}"));
            let base = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end)),
                _ => Some(sample.name.as_str()),
            };
            assert_eq!(base, Some(now.as_str()), "a line outside its family: {line:?}");
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "a series twice: {line:?}");
            family.samples.push(sample);
        }
    }
    families
}

/// A histogram's buckets rise, and the last holds everything.
fn check_histogram(name: &str, family: &Family) {
    let of = |end: &'static str| family.samples.iter().filter(move |sample| sample.name == format!("{name}{end}"));
    for count in of("_count") {
        let same = |sample: &&Sample| sample.labels.iter().filter(|(label, _)| *label != "le").eq(count.labels.iter());
        let buckets: Vec<&Sample> = of("_bucket").filter(same).collect();
        assert_eq!(of("_sum").filter(same).count(), 1, "{name} has one sum");
        assert!(buckets.windows(2).all(|pair| pair[0].value <= pair[1].value), "{name}: {buckets:?}");
        let last = buckets.last().unwrap();
        assert_eq!(last.labels["le"], "+Inf", "{name}");
        assert!((last.value - count.value).abs() < f64::EPSILON, "{name}");
    }
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads_and_tell_no_secret() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let token = uuid::Uuid::now_v7().simple().to_string();
    let push = format!(
        "[sources.resources]\ntype = \"cgroup_metrics\"\ninterval = \"1s\"\n\
         [sinks.samples]\ntype = \"sqlite_store\"\ninputs = [\"resources\"]\npath = \"{}\"\n\
         [sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"{}\"\nbatch_events = 1\n",
        home.path("resources.db").display(),
        receiver.url()
    );
    let setup = home.setup().more(&push).env("TRACE_PUSH_TOKEN", &token).env("TRACE_INGEST_TOKEN", &token);
    let sidecar = setup.start().await;
    let authorized = |request: Request| request.header("authorization", &format!("Bearer {token}"));
    // Something of each: stored, a duplicate, rejected, refused, redacted, pushed.
    let mut telling = marked("telling");
    telling["input"] = serde_json::json!({"password": token});
    let body = array(&[telling, marked("plain")]);
    for _ in 0..2 {
        assert_eq!(post(sidecar.ingest, &authorized(Request::events(body.clone()))).await.status, 200);
    }
    assert_eq!(post(sidecar.ingest, &authorized(Request::events("[{}]"))).await.status, 400);
    assert_eq!(post(sidecar.ingest, &Request::events("[{}]")).await.status, 401);
    eventually("they are pushed", async || receiver.kept().len() == 2).await;

    let answer = get(sidecar.api, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(!text.contains(&token) && !text.contains("telling"), "neither a token nor an event is told");
    let families = families(&text);
    for (name, family) in &families {
        assert!(name.starts_with("openclaw_trace_"), "{name}");
        assert!(family.help.len() > 5, "{name} is explained");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name} is a {}", family.kind);
        assert!(family.samples.iter().all(|sample| sample.labels.contains_key("component")), "{name}");
        assert!(family.samples.iter().all(|sample| sample.value.is_finite()), "{name}");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    let value = |name: &str| -> f64 {
        let samples = &families.get(name).unwrap_or_else(|| panic!("no {name} in:\n{text}")).samples;
        let of_store = |sample: &&Sample| sample.labels["component"] != "samples";
        samples.iter().filter(of_store).map(|sample| sample.value).sum()
    };
    for (name, expected) in [
        ("openclaw_trace_store_events_total", 2.0),
        ("openclaw_trace_dedupe_dropped_total", 2.0),
        ("openclaw_trace_ingest_rejected_total", 1.0),
        ("openclaw_trace_ingest_requests_total", 4.0),
        ("openclaw_trace_queue_lost_total", 0.0),
    ] {
        assert!((value(name) - expected).abs() < f64::EPSILON, "{name} is {}, not {expected}", value(name));
    }

    let file = home.path("metrics.txt");
    std::fs::write(&file, &text).unwrap();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .stdout(Stdio::null())
        .output();
    match promtool {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: promtool is not installed, so only this test's own check was made"),
    }
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 2);
}
