#![allow(clippy::unwrap_used)]

use engine::Json;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{batch, context, metric};

fn priced(config: Cost, attributes: &Value) -> (Value, BuildContext) {
    let cx = context();
    let transform = config.build(&cx).unwrap();
    let mut event = Event::new(Kind::LLM_CALL);
    event.attributes = Some(Json::from_value(attributes).unwrap());
    let (mut batch, _receipt) = batch(vec![event]);
    transform.apply(&mut batch);
    let text = batch.iter().next().unwrap().attributes.as_ref().unwrap().as_str().to_owned();
    (serde_json::from_str(&text).unwrap(), cx)
}

fn call(provider: &str, model: &str, tokens: [u64; 4]) -> Value {
    json!({
        "gen_ai.provider.name": provider, "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.cache_read.input_tokens": tokens[1],
        "gen_ai.usage.cache_creation.input_tokens": tokens[2], "gen_ai.usage.output_tokens": tokens[3],
    })
}

#[test]
fn cached_input_is_priced_once_and_at_its_own_price() {
    // 3, 15, 0.3 and 3.75 dollars a million.
    let (told, _) = priced(Cost::default(), &call("anthropic", "claude-sonnet-4-5", [12_000, 10_000, 1_000, 300]));
    // 1,000 plain, 10,000 read, 1,000 written, 300 out.
    let expected = 1_000.0 * 3e-6 + 10_000.0 * 0.3e-6 + 1_000.0 * 3.75e-6 + 300.0 * 15e-6;
    assert!((told["cost_usd"].as_f64().unwrap() - expected).abs() < 1e-12, "{told}");
    assert_eq!(told["openclaw_trace.cost.source"], "computed");
    assert!(told["openclaw_trace.cost.prices"].as_str().unwrap().starts_with("litellm"));
}

#[test]
fn above_200_000_tokens_the_price_may_be_another() {
    let short = priced(Cost::default(), &call("gcp.gemini", "gemini-2.5-pro", [200_000, 0, 0, 0])).0;
    let long = priced(Cost::default(), &call("gcp.gemini", "gemini-2.5-pro", [200_001, 0, 0, 0])).0;
    assert!((short["cost_usd"].as_f64().unwrap() - 0.25).abs() < 1e-12, "{short}");
    assert!((long["cost_usd"].as_f64().unwrap() - 0.500_002_5).abs() < 1e-12, "{long}");
}

#[test]
fn what_the_client_reports_wins_and_the_computed_one_stands_beside_it() {
    let mut told = call("anthropic", "claude-sonnet-4-5", [1_000_000, 0, 0, 0]);
    told["cost_usd"] = json!(1.5);
    let (told, cx) = priced(Cost::default(), &told);
    assert_eq!((&told["cost_usd"], &told["openclaw_trace.cost.source"]), (&json!(1.5), &json!("reported")));
    assert_eq!(told["openclaw_trace.cost.computed_usd"], 3);
    assert_eq!(metric(&cx, "openclaw_trace_cost_events_total{component=\"test\",source=\"reported\"}"), 1);
}

#[test]
fn an_unknown_model_has_no_cost_and_keeps_its_tokens() {
    let (told, cx) = priced(Cost::default(), &call("mock", "mock-1", [10, 0, 0, 1]));
    assert_eq!(told["openclaw_trace.cost.source"], "unpriced");
    assert!(told.get("cost_usd").is_none());
    assert_eq!(told["gen_ai.usage.input_tokens"], 10);
    assert_eq!(metric(&cx, "openclaw_trace_cost_events_total{component=\"test\",source=\"unpriced\"}"), 1);
}

#[test]
fn prices_of_ones_own_are_read_from_a_file_and_a_wrong_one_is_told() {
    let folder = std::env::temp_dir().join(format!("openclaw-trace-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("prices.toml");
    std::fs::write(
        &file,
        "[[price]]\nprovider = \"mock\"\nmodel = \"mock-1\"\ninput = 3.0\noutput = 15.0\ncache_read = 0.3\n",
    )
    .unwrap();
    let config = Cost { prices: Some(file.clone()), ..Cost::default() };
    let (told, _) = priced(config.clone(), &call("mock", "mock-1", [1203, 1000, 0, 34]));
    assert_eq!(told["cost_usd"], 0.001_419, "as OpenClaw computes it");
    std::fs::write(&file, "[[price]]\nmodel = 5\n").unwrap();
    let problems = config.build(&context()).err().unwrap();
    assert_eq!(problems[0].key, "prices");
    std::fs::remove_dir_all(&folder).unwrap();
    let missing = Cost { prices: Some("/nowhere/prices.toml".into()), ..Cost::default() };
    assert!(missing.build(&context()).err().unwrap()[0].message.contains("/nowhere/prices.toml cannot be read"));
}

#[test]
fn other_events_and_calls_without_tokens_pass_untouched() {
    let told = json!({"gen_ai.request.model": "claude-sonnet-4-5"});
    assert_eq!(priced(Cost::default(), &told).0, told);
    let failed = call("mock", "mock-1", [0, 0, 0, 0]);
    assert_eq!(priced(Cost::default(), &failed).0, failed);
    let odd = json!({"gen_ai.request.model": 5, "gen_ai.usage.input_tokens": 5});
    assert_eq!(priced(Cost::default(), &odd).0, odd);
    let again = json!({"openclaw_trace.cost.source": "computed", "gen_ai.usage.input_tokens": 5});
    assert_eq!(priced(Cost::default(), &again).0, again);
}

proptest! {
    #[test]
    fn dollars_are_exact(pico in 0u64..u64::MAX) {
        let text = dollars(u128::from(pico));
        let value: f64 = text.parse().unwrap();
        #[allow(clippy::cast_precision_loss)]
        let expected = pico as f64 / 1e12;
        prop_assert!((value - expected).abs() <= expected * 1e-12);
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn any_counts_are_priced_without_overflow(tokens in any::<[u64; 4]>()) {
        let told = priced(Cost::default(), &call("anthropic", "claude-sonnet-4-5", tokens)).0;
        prop_assert!(told["cost_usd"].as_f64().unwrap() >= 0.0);
    }
}
