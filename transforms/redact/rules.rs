//! The table of built-in rules.
//!
//! Written for this program from the providers' own documentation and from what published scanners
//! know (`docs/redaction.md` lists which kind of theirs is met by which rule). Shapes are wider than
//! the providers' formats where that costs nothing, because a token that a log has cut short is still
//! worth hiding, and because formats grow.

/// Secrets that are known by their own form, wherever they stand.
pub(super) struct Token {
    /// Name of the rule.
    pub(super) name: &'static str,
    /// Its forms (see the module `shape`).
    pub(super) shapes: &'static [&'static str],
    /// The form alone says too little: what is found must also look like noise, with a digit and
    /// no placeholder's repetition.
    pub(super) noisy: bool,
}

/// Secrets without a form of their own, known by who gave them: a vendor's name, an assignment, and a
/// value of the right length.
pub(super) struct Vendor {
    /// Name of the rule.
    pub(super) name: &'static str,
    /// The vendor's name as it stands in settings, small letters.
    pub(super) words: &'static [&'static str],
    /// Forms of the value. After `client:`, the name must also hold the word `client`: these are
    /// public identifiers, too short to be told from others otherwise.
    pub(super) shapes: &'static [&'static str],
}

/// Rules that have code of their own, in the order of the modules beside this one; and whether they
/// are on.
pub(super) const CODED: [(&str, bool); 15] = [
    ("private_key", true),
    ("jwt", true),
    ("discord_bot_token", true),
    ("url_password", true),
    ("bearer_token", true),
    ("basic_auth", true),
    ("curl_user", true),
    ("kubernetes_secret", true),
    ("named_secret", true),
    ("email", true),
    ("card", true),
    ("iban", true),
    ("phone", true),
    ("ip", false),
    ("id", true),
];

const fn sure(name: &'static str, shapes: &'static [&'static str]) -> Token {
    Token { name, shapes, noisy: false }
}

const fn noisy(name: &'static str, shapes: &'static [&'static str]) -> Token {
    Token { name, shapes, noisy: true }
}

const fn vendor(name: &'static str, words: &'static [&'static str], shapes: &'static [&'static str]) -> Vendor {
    Vendor { name, words, shapes }
}

/// Form of a UUID.
const UUID: &str = "{x:8}-{x:4}-{x:4}-{x:4}-{x:12}";

#[rustfmt::skip]
pub(super) const TOKENS: &[Token] = &[
    // Models and what agents use beside them.
    sure("anthropic_key", &["sk-ant-{w:16..}"]),
    sure("openrouter_key", &["sk-or-{w:16..}"]),
    sure("openai_key", &["sk-proj-{w:16..}", "sk-svcacct-{w:16..}", "sk-admin-{w:16..}"]),
    noisy("sk_key", &["sk-{w:20..}"]),
    sure("google_key", &["AIza{w:30..}", "ya29.{w:20..}", "GOCSPX-{w:20..}", "AQ.Ab{w:40..}"]),
    sure("firebase_key", &["AAAA{w:7}:APA91b{w:100..}"]),
    noisy("groq_key", &["gsk_{a:20..}"]),
    noisy("xai_key", &["xai-{w:20..}"]),
    noisy("perplexity_key", &["pplx-{a:20..}"]),
    noisy("huggingface_token", &["hf_{a:20..}", "api_org_{a:20..}"]),
    noisy("replicate_token", &["r8_{a:24..}"]),
    noisy("fireworks_key", &["fw_{a:20..}"]),
    noisy("together_key", &["tgp_v1_{w:20..}"]),
    noisy("cerebras_key", &["csk-{a:24..}"]),
    noisy("nvidia_key", &["nvapi-{w:30..}"]),
    noisy("tavily_key", &["tvly-{w:20..}"]),
    noisy("firecrawl_key", &["fc-{x:32}"]),
    noisy("elevenlabs_key", &["sk_{x:40..}"]),
    noisy("langsmith_key", &["lsv2_pt_{w:20..}", "lsv2_sk_{w:20..}", "ls__{x:20..}"]),
    noisy("langfuse_key", &["pk-lf-{w:20..}"]),
    noisy("pinecone_key", &["pcsk_{w:30..}"]),
    noisy("voyage_key", &["pa-{w:40..}"]),
    noisy("jina_key", &["jina_{a:30..}"]),
    noisy("brave_search_key", &["BSA{w:24..28}"]),
    noisy("anyscale_key", &["esecret_{a:20..}"]),
    noisy("e2b_key", &["e2b_{x:30..}"]),
    noisy("browserbase_key", &["bb_live_{w:20..}"]),
    noisy("apify_token", &["apify_api_{a:24..}"]),
    noisy("modal_token", &["ak-{a:22}", "as-{a:22}"]),
    // Machines, clouds, databases.
    sure("fly_token", &["fm1a_{s:24..}", "fm1r_{s:24..}", "fm2_{s:24..}", "fo1_{w:30..}"]),
    sure("aws_key_id", &["AKIA{u:16}", "ASIA{u:16}", "ABIA{u:16}", "ACCA{u:16}"]),
    noisy("aws_key_id", &["A3T{u:17}"]),
    noisy("aws_bedrock_key", &["ABSK{b:60..}", "bedrock-api-key-{b:40..}"]),
    noisy("azure_secret", &["{q:3}{d:1}Q~{q:31..34}", "&sig={s:30..}", "?sig={s:30..}"]),
    noisy("alibaba_key_id", &["LTAI{a:12..24}"]),
    sure("digitalocean_token", &["dop_v1_{x:30..}", "doo_v1_{x:30..}", "dor_v1_{x:30..}"]),
    noisy("heroku_key", &["HRKU-{w:40..}"]),
    noisy("cloudflare_key", &["v1.0-{x:24}-{x:100..}"]),
    noisy("databricks_token", &["dapi{x:32}"]),
    sure("planetscale_token", &["pscale_tkn_{q:24..}", "pscale_oauth_{q:24..}", "pscale_pw_{q:24..}"]),
    noisy("supabase_key", &["sbp_{x:40..}", "sb_secret_{w:20..}"]),
    noisy("neon_key", &["napi_{l:40..}"]),
    noisy("clickhouse_key", &["4b1d{a:38}"]),
    noisy("tailscale_key", &["tskey-{w:20..}"]),
    noisy("scalingo_token", &["tk-us-{w:40..}"]),
    noisy("yandex_key", &["AQVN{w:35..38}"]),
    noisy("netlify_token", &["nfp_{a:30..}"]),
    // Secrets of those who keep secrets, and of what builds and deploys.
    sure("age_key", &["AGE-SECRET-KEY-1{u:40..}"]),
    noisy("1password_key", &["A3-{u:6}-{u:11}-{u:5}-{u:5}-{u:5}", "A3-{u:6}-{u:6}-{u:5}-{u:5}-{u:5}-{u:5}", "ops_eyJ{b:60..}"]),
    noisy("vault_token", &["hvs.{w:24..}", "hvb.{w:24..}", "hvr.{w:24..}", "s.{a:24}"]),
    noisy("doppler_token", &["dp.pt.{q:30..}", "dp.st.{q:30..}", "dp.sa.{q:30..}", "dp.ct.{q:30..}"]),
    noisy("pulumi_token", &["pul-{x:40}"]),
    sure("terraform_token", &["{a:14}.atlasv1.{q:40..}"]),
    noisy("infracost_key", &["ico-{a:32}"]),
    sure("github_token", &["ghp_{a:30..}", "gho_{a:30..}", "ghu_{a:30..}", "ghs_{a:30..}", "ghr_{a:30..}", "github_pat_{w:30..}"]),
    noisy("gitlab_token", &[
        "glpat-{q:18..}", "glcbt-{w:18..}", "gldt-{w:18..}", "glffct-{w:18..}", "glft-{w:18..}", "glimt-{w:18..}",
        "glagent-{w:30..}", "gloas-{w:30..}", "glptt-{w:18..}", "glrt-{q:18..}", "glrtr-{w:18..}", "glsoat-{w:18..}",
        "GR1348941{w:18..}", "_gitlab_session={l:32}",
    ]),
    noisy("npm_token", &["npm_{a:30..}"]),
    sure("pypi_token", &["pypi-AgE{w:40..}"]),
    noisy("rubygems_token", &["rubygems_{x:40..}"]),
    noisy("clojars_token", &["CLOJARS_{l:50..}"]),
    sure("docker_token", &["dckr_pat_{w:20..}", "dckr_oat_{w:20..}"]),
    noisy("jfrog_key", &["AKCp{a:60..}", "cmVmd{a:50..}"]),
    noisy("circleci_token", &["CCIPAT_{w:30..}"]),
    noisy("buildkite_token", &["bkua_{x:40}"]),
    noisy("harness_key", &["pat.{w:22}.{a:24}.{a:20}", "sat.{w:22}.{a:24}.{a:20}"]),
    noisy("octopus_key", &["API-{u:26}"]),
    noisy("sonar_token", &["sqp_{x:40}", "squ_{x:40}", "sqa_{x:40}"]),
    noisy("sourcegraph_token", &["sgp_{x:40}", "sgp_{x:16}_{x:40}", "sgp_local_{x:40}"]),
    noisy("openshift_token", &["sha256~{w:40..}"]),
    noisy("prefect_token", &["pnu_{a:36}"]),
    sure("settlemint_token", &["sm_aat_{a:16}", "sm_pat_{a:16}", "sm_sat_{a:16}"]),
    // Where people talk.
    sure("telegram_bot_token", &["{d:5..16}:AA{w:30..40}"]),
    sure("slack_token", &[
        "xoxb-{w:10..}", "xoxa-{w:10..}", "xoxp-{w:10..}", "xoxr-{w:10..}", "xoxs-{w:10..}", "xoxo-{w:10..}",
        "xoxe-{w:10..}", "xoxc-{w:10..}", "xoxd-{s:10..}", "xapp-{w:10..}",
    ]),
    sure("slack_webhook", &["hooks.slack.com/services/{b:20..}", "hooks.slack.com/workflows/{b:20..}", "hooks.slack.com/triggers/{b:20..}"]),
    sure("discord_webhook", &["/webhooks/{d:15..20}/{w:40..}"]),
    sure("teams_webhook", &["webhook.office.com/webhookb2/{s:20..}@{s:20..}"]),
    noisy("twilio_key", &["SK{x:32}"]),
    noisy("meta_token", &["EAA{w:24..}"]),
    sure("matrix_token", &["syt_{w:24..}"]),
    noisy("matrix_token", &["mct_{w:24..}"]),
    sure("sendgrid_key", &["SG.{q:40..}"]),
    noisy("mailgun_key", &["key-{x:32}"]),
    noisy("mailchimp_key", &["{x:32}-us{d:1..2}"]),
    sure("brevo_key", &["xkeysib-{w:40..}", "xsmtpsib-{w:40..}"]),
    noisy("resend_key", &["re_{w:24..}"]),
    // Money.
    sure("stripe_key", &[
        "sk_live_{a:10..}", "sk_test_{a:10..}", "sk_prod_{a:10..}", "rk_live_{a:10..}", "rk_test_{a:10..}",
        "rk_prod_{a:10..}", "whsec_{b:20..}",
    ]),
    noisy("square_token", &["sq0atp-{w:22..}", "sq0csp-{w:22..}"]),
    noisy("flutterwave_key", &["FLWSECK_TEST-{a:12..}", "FLWPUBK_TEST-{a:12..}", "FLWSECK-{a:12..}"]),
    noisy("plaid_token", &[
        "access-sandbox-{x:8}-{x:4}-{x:4}-{x:4}-{x:12}", "access-development-{x:8}-{x:4}-{x:4}-{x:4}-{x:12}",
        "access-production-{x:8}-{x:4}-{x:4}-{x:4}-{x:12}",
    ]),
    noisy("shopify_token", &["shpat_{x:30..}", "shpca_{x:30..}", "shppa_{x:30..}", "shpss_{x:30..}"]),
    noisy("duffel_token", &["duffel_test_{q:40..}", "duffel_live_{q:40..}"]),
    noisy("easypost_token", &["EZAK{a:54}", "EZTK{a:54}"]),
    noisy("shippo_token", &["shippo_live_{x:40}", "shippo_test_{x:40}"]),
    // What watches, plans, stores and shows.
    noisy("newrelic_key", &["NRAK-{u:20..}", "NRJS-{x:19}", "NRII-{w:30..}", "{x:36}NRAL"]),
    noisy("sentry_token", &["sntrys_{s:40..}", "sntryu_{x:40..}"]),
    noisy("grafana_token", &["glc_{s:32..}", "glsa_{w:32..}", "eyJrIjoi{b:60..}"]),
    noisy("dynatrace_token", &["dt0c01.{a:24}.{a:64}"]),
    noisy("linear_key", &["lin_api_{a:30..}", "lin_oauth_{a:30..}"]),
    noisy("notion_token", &["ntn_{a:40..}", "secret_{a:43}"]),
    noisy("figma_token", &["figd_{w:30..}"]),
    sure("atlassian_token", &["ATATT3{q:60..}", "ATCTT3{q:60..}"]),
    noisy("airtable_token", &["pat{a:14}.{x:64}"]),
    noisy("hubspot_token", &["pat-na1-{w:36}", "pat-na2-{w:36}", "pat-eu1-{w:36}"]),
    noisy("contentful_token", &["CFPAT-{w:40..}"]),
    noisy("postman_key", &["PMAK-{w:40..}"]),
    noisy("typeform_token", &["tfp_{q:40..}"]),
    noisy("readme_token", &["rdme_{l:60..}"]),
    noisy("mapbox_token", &["pk.{a:60}.{a:22}", "sk.{a:60}.{a:22}"]),
    noisy("dropbox_token", &["sl.{w:100..}"]),
    noisy("frameio_token", &["fio-u-{q:60..}"]),
    noisy("maxmind_key", &["{a:6}_{a:29}_mmk"]),
    noisy("adobe_secret", &["p8e-{l:32}"]),
    noisy("defined_networking_token", &["dnkey-{q:26}-{q:52}"]),
    noisy("authress_key", &["sc_{l:5..30}.{l:4..6}.acc_{w:10..32}.{s:30..}", "authress_{l:5..30}.{l:4..6}.acc_{w:10..32}.{s:30..}"]),
    noisy("intra42_secret", &["s-s4t2ud-{x:64}", "s-s4t2af-{x:64}"]),
    sure("jwt", &["ZXlK{b:60..}"]),
];

#[rustfmt::skip]
pub(super) const VENDORS: &[Vendor] = &[
    vendor("adafruit_key", &["adafruit"], &["{w:32}"]),
    vendor("adobe_secret", &["adobe"], &["{x:32}"]),
    vendor("airtable_token", &["airtable"], &["{a:17}"]),
    vendor("algolia_key", &["algolia"], &["{a:32}"]),
    vendor("alibaba_key_id", &["alibaba"], &["{a:30}"]),
    vendor("asana_secret", &["asana"], &["{a:32}", "client:{d:16}"]),
    vendor("assemblyai_key", &["assemblyai"], &["{x:32}"]),
    vendor("atlassian_token", &["atlassian", "confluence", "jira"], &["{a:24}"]),
    vendor("azure_secret", &["azure"], &["{x:32}", "{a:52}", "{a:84}"]),
    vendor("beamer_token", &["beamer"], &["b_{q:44}"]),
    vendor("bitbucket_secret", &["bitbucket"], &["{a:32}", "{q:64}"]),
    vendor("bittrex_key", &["bittrex"], &["{a:32}"]),
    vendor("cloudflare_key", &["cloudflare"], &["{w:40}", "{x:37}"]),
    vendor("codecov_token", &["codecov"], &["{a:32}", UUID]),
    vendor("cohere_key", &["cohere", "co_api_key"], &["{a:40}"]),
    vendor("coinbase_token", &["coinbase"], &["{w:64}"]),
    vendor("confluent_key", &["confluent"], &["{a:16}", "{a:64}"]),
    vendor("contentful_token", &["contentful"], &["{q:43}"]),
    vendor("datadog_key", &["datadog", "dd_api_key"], &["{a:40}", "{x:32}"]),
    vendor("deepgram_key", &["deepgram"], &["{x:40}"]),
    vendor("discord_secret", &["discord"], &["{x:64}", "{q:32}", "client:{d:17..19}"]),
    vendor("drone_token", &["droneci", "drone_token"], &["{a:32}"]),
    vendor("dropbox_token", &["dropbox"], &["{a:15}", "{a:11}AAAAAAAAAA{q:43}"]),
    vendor("etsy_token", &["etsy"], &["{a:24}"]),
    vendor("facebook_secret", &["facebook"], &["{x:32}", "{d:15..16}|{w:27..40}", "{d:15..16}%{w:27..40}"]),
    vendor("fastly_token", &["fastly"], &["{q:32}"]),
    vendor("finicity_token", &["finicity"], &["{x:32}", "{a:20}"]),
    vendor("finnhub_token", &["finnhub"], &["{a:20}"]),
    vendor("flickr_token", &["flickr"], &["{a:32}"]),
    vendor("freshbooks_token", &["freshbooks"], &["{a:64}"]),
    vendor("gitter_token", &["gitter"], &["{w:40}"]),
    vendor("gocardless_token", &["gocardless"], &["live_{q:40}"]),
    vendor("heroku_key", &["heroku"], &[UUID]),
    vendor("hubspot_token", &["hubspot"], &[UUID]),
    vendor("intercom_key", &["intercom"], &["{q:60}"]),
    vendor("jfrog_key", &["jfrog", "artifactory", "bintray", "xray"], &["{a:73}", "{a:64}"]),
    vendor("kraken_token", &["kraken"], &["{s:80..90}"]),
    vendor("kucoin_key", &["kucoin"], &["{x:24}", UUID]),
    vendor("launchdarkly_token", &["launchdarkly"], &["{q:40}", UUID]),
    vendor("linear_key", &["linear"], &["{x:32}"]),
    vendor("linkedin_secret", &["linkedin", "linked_in", "linked-in"], &["{a:16}", "client:{a:14}"]),
    vendor("lob_key", &["lob"], &["live_{x:35}", "test_{x:35}", "live_pub_{x:31}", "test_pub_{x:31}"]),
    vendor("mailgun_key", &["mailgun"], &["{x:32}-{x:8}-{x:8}", "{x:32}"]),
    vendor("mattermost_token", &["mattermost"], &["{a:26}"]),
    vendor("meraki_key", &["meraki"], &["{x:40}"]),
    vendor("messagebird_token", &["messagebird", "message_bird", "message-bird"], &["{a:25}", UUID]),
    vendor("mistral_key", &["mistral"], &["{a:32}"]),
    vendor("netlify_token", &["netlify"], &["{q:40..46}"]),
    vendor("newrelic_key", &["newrelic", "new_relic", "new-relic"], &["{a:64}", "{x:40}"]),
    vendor("nytimes_token", &["nytimes", "newyorktimes", "new-york-times"], &["{q:32}"]),
    vendor("okta_token", &["okta"], &["00{q:40}"]),
    vendor("plaid_token", &["plaid"], &["{a:30}", "client:{a:24}"]),
    vendor("privateai_token", &["privateai", "private_ai", "private-ai"], &["{a:32}"]),
    vendor("rapidapi_token", &["rapidapi"], &["{w:50}"]),
    vendor("sendbird_token", &["sendbird"], &["{x:40}", UUID]),
    vendor("sentry_token", &["sentry"], &["{x:64}"]),
    vendor("sidekiq_secret", &["contribsys"], &["{x:8}:{x:8}"]),
    vendor("snyk_token", &["snyk"], &[UUID]),
    vendor("sonar_token", &["sonar"], &["{q:40}"]),
    vendor("sourcegraph_token", &["sourcegraph"], &["{x:40}"]),
    vendor("squarespace_token", &["squarespace"], &[UUID]),
    vendor("sumologic_key", &["sumo"], &["su{a:12}", "{a:64}"]),
    vendor("telegram_bot_token", &["telegram", "tgram"], &["{d:5..16}:A{w:34}"]),
    vendor("travis_token", &["travis"], &["{a:22}"]),
    vendor("twilio_key", &["twilio"], &["{x:32}"]),
    vendor("twitch_token", &["twitch"], &["{a:30}"]),
    vendor("twitter_token", &["twitter"], &["{a:25}", "{a:45}", "{a:50}", "{d:15..25}-{a:20..40}", "AAAAAAAAAAAAAAAAAAAAAA{s:80..100}"]),
    vendor("wandb_key", &["wandb"], &["{x:40}"]),
    vendor("yandex_key", &["yandex"], &["YC{w:38}", "t1.{w:1..}.{w:86}"]),
    vendor("zendesk_secret", &["zendesk"], &["{a:40}"]),
];

/// The names of all built-in rules, each once.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    let all = TOKENS
        .iter()
        .map(|rule| rule.name)
        .chain(VENDORS.iter().map(|rule| rule.name))
        .chain(CODED.iter().map(|(name, _)| *name));
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::shape::Shape;

    #[test]
    fn every_shape_can_be_read_and_every_token_has_an_anchor() {
        for rule in TOKENS {
            for shape in rule.shapes {
                let read = Shape::parse(shape);
                assert!(read.is_some_and(|shape| shape.anchor().len() >= 2), "{}: {shape}", rule.name);
            }
        }
        for rule in VENDORS {
            for shape in rule.shapes {
                let shape = shape.strip_prefix("client:").unwrap_or(shape);
                assert!(Shape::parse(shape).is_some(), "{}: {shape}", rule.name);
            }
        }
    }
}
