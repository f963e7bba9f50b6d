//! Secrets that have no prefix of their own: found by the words around them, then by a pattern.
//!
//! A pattern is compiled when its first word is met. The first group, where there is one, is the secret.

use super::personal;
use super::scan::{entropy, is_placeholder};

/// A built-in pattern.
pub(super) struct Pattern {
    pub(super) name: &'static str,
    /// Lower case; at least one must stand in the text. None: any digit must.
    pub(super) words: &'static [&'static str],
    pub(super) pattern: &'static str,
    /// What else the secret must be.
    pub(super) check: fn(&str) -> bool,
    /// Only when asked for.
    pub(super) optional: bool,
}

const fn rule(
    name: &'static str,
    words: &'static [&'static str],
    pattern: &'static str,
    check: fn(&str) -> bool,
) -> Pattern {
    Pattern { name, words, pattern, check, optional: false }
}

fn always(_: &str) -> bool {
    true
}

/// A made value: mixed, and not a word, a path or a call.
fn is_made(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    !is_placeholder(text) && digits > 0 && entropy(text) >= 3.0
}

/// A password may be a word, but not a piece of code or a placeholder.
fn is_password(text: &str) -> bool {
    !is_placeholder(text)
        && !text.contains(['(', ')', '[', ']', '{', '}', '<', '>', '$'])
        && (text.bytes().any(|b| b.is_ascii_digit() || b"!@#%^&*?+~".contains(&b))
            || entropy(text) >= 3.2 && !text.contains(['.', '_']))
}

/// Between a name and its value: quotes (escaped ones too), spaces, an assignment.
macro_rules! assign {
    () => {
        r#"[\\"'`\]\s]{0,6}(?:=>|:=|\|\||[:=])[\\"'`\s]{0,6}"#
    };
}

pub(super) const PATTERNS: &[Pattern] = &[
    rule(
        "private_key",
        &["private key"],
        r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.{16,12000}?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
        always,
    ),
    rule("jwt", &["eyj"], r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3})", always),
    rule("telegram_token", &[":aa"], r"\b([0-9]{8,10}:AA[A-Za-z0-9_-]{32,34})\b", always),
    rule(
        "discord_token",
        &["m", "n", "o"],
        r"\b([MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})\b",
        always,
    ),
    rule("discord_webhook", &["/api/webhooks/"], r"/api/webhooks/([0-9]{15,20}/[A-Za-z0-9_-]{40,90})", always),
    rule(
        "slack_webhook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/_-]{30,90})",
        always,
    ),
    rule("teams_webhook", &["webhook.office.com"], r"webhook\.office\.com/webhookb2/([A-Za-z0-9@/_-]{60,200})", always),
    rule("twilio_key", &["sk"], r"\b(SK[0-9a-fA-F]{32})\b", always),
    rule("mailchimp_key", &["-us"], r"\b([0-9a-f]{32}-us[0-9]{1,2})\b", always),
    rule("airtable_token", &["pat"], r"\b(pat[A-Za-z0-9]{14}\.[0-9a-f]{64})\b", always),
    rule("terraform_token", &[".atlasv1."], r"\b([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})", always),
    rule(
        "onepassword_key",
        &["a3-"],
        r"\b(A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5})\b",
        always,
    ),
    rule(
        "azure_key",
        &["accountkey", "sharedaccesskey", "sig="],
        r"(?i)(?:AccountKey|SharedAccessKey|[?&;]sig)=([A-Za-z0-9+/%]{20,}={0,2})",
        always,
    ),
    rule("azure_secret", &["q~"], r"\b([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})", always),
    rule(
        "url_password",
        &["://"],
        r#"[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/@"'<>]{0,64}:([^\s/@"'<>]{3,100})@[A-Za-z0-9\[]"#,
        |text| !is_placeholder(text),
    ),
    rule(
        "authorization",
        &["bearer", "basic", "authorization"],
        r#"(?i)\b(?:bearer|basic|authorization[\\"']{0,4}\s*[:=]\s*[\\"']{0,4}(?:token|apikey|key)?)\s+[\\"']{0,4}([A-Za-z0-9_.~+/=-]{16,})"#,
        is_made,
    ),
    rule(
        "basic_login",
        &["curl", "-u", "--user"],
        r#"(?:\s-u|--user)[ =]['"]?([^\s:'"]{1,64}:[^\s'"]{3,100})"#,
        |text| !is_placeholder(text),
    ),
    rule(
        "sidekiq_secret",
        &["bundle_"],
        concat!(r"(?i)BUNDLE_(?:ENTERPRISE|GEMS)__CONTRIBSYS__COM", assign!(), r"([0-9a-f]{8}:[0-9a-f]{8})"),
        always,
    ),
    rule(
        "password",
        &["passw", "pwd", "passphrase"],
        concat!(r"(?i)(?:passw(?:or)?d|passphrase|pwd)[\w.-]{0,20}", assign!(), r#"([^\s"'`,;&\\]{6,120})"#),
        is_password,
    ),
    rule(
        "generic_secret",
        &["key", "token", "secret", "credential", "auth"],
        concat!(
            r"(?i)(?:api|access|auth|client|private|secret|service|master|signing|session|app|license|admin|encryption|refresh|webhook|bot|token|secret|credential|key)[_.\-]?(?:key|token|secret|id_secret|credential)?s?[\w.-]{0,12}",
            assign!(),
            r#"([A-Za-z0-9_.~+/=@-]{16,200})"#
        ),
        |text| is_made(text) && entropy(text) >= 3.3 && !looks_like_reference(text),
    ),
    rule(
        "vendor_key",
        &[
            "adafruit",
            "adobe",
            "airtable",
            "algolia",
            "asana",
            "atlassian",
            "authress",
            "beamer",
            "bitbucket",
            "bittrex",
            "brave",
            "cloudflare",
            "codecov",
            "cohere",
            "coinbase",
            "confluence",
            "confluent",
            "contentful",
            "databricks",
            "datadog",
            "deepgram",
            "deepl",
            "deepseek",
            "defined",
            "discord",
            "droneci",
            "dropbox",
            "etsy",
            "exa_",
            "facebook",
            "fastly",
            "finicity",
            "finnhub",
            "flickr",
            "freemius",
            "freshbooks",
            "gitter",
            "gocardless",
            "heroku",
            "hubspot",
            "intercom",
            "jfrog",
            "jira",
            "kraken",
            "kucoin",
            "launchdarkly",
            "line_",
            "linkedin",
            "lob",
            "looker",
            "mailchimp",
            "mailgun",
            "mapbox",
            "mattermost",
            "maxmind",
            "meraki",
            "messagebird",
            "mistral",
            "moonshot",
            "netlify",
            "newrelic",
            "new_relic",
            "nytimes",
            "okta",
            "openweather",
            "plaid",
            "privateai",
            "rapidapi",
            "segment",
            "sendbird",
            "sentry",
            "serper",
            "shippo",
            "signal",
            "snyk",
            "sonar",
            "squarespace",
            "stability",
            "sumo",
            "together",
            "travis",
            "trello",
            "twilio",
            "twitch",
            "twitter",
            "vercel",
            "whatsapp",
            "yandex",
            "zendesk",
        ],
        concat!(
            r"(?i)(?:adafruit|adobe|airtable|algolia|asana|atlassian|authress|beamer|bitbucket|bittrex|brave|cloudflare|codecov|cohere|coinbase|confluence|confluent|contentful|databricks|datadog|deepgram|deepl|deepseek|defined|discord|droneci|dropbox|etsy|exa|facebook|fastly|finicity|finnhub|flickr|freemius|freshbooks|gitter|gocardless|heroku|hubspot|intercom|jfrog|jira|kraken|kucoin|launchdarkly|line|linkedin|lob|looker|mailchimp|mailgun|mapbox|mattermost|maxmind|meraki|messagebird|mistral|moonshot|netlify|new_?relic|nytimes|okta|openweather|plaid|privateai|rapidapi|segment|sendbird|sentry|serper|shippo|signal|snyk|sonar|squarespace|stability|sumo|together|travis|trello|twilio|twitch|twitter|vercel|whatsapp|yandex|zendesk)[\w. \t-]{0,25}",
            assign!(),
            r"([A-Za-z0-9_=+/.~-]{16,150})"
        ),
        |text| is_made(text) && !looks_like_reference(text),
    ),
    rule(
        "email",
        &["@"],
        r"\b([A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b",
        personal::is_email,
    ),
    rule(
        "card_number",
        &[],
        r"(?:^|[^0-9A-Za-z.-])([3-6][0-9](?:[ -]?[0-9]){11,17}|2[2-7][0-9]{2}(?:[ -]?[0-9]){12})(?:$|[^0-9A-Za-z-])",
        personal::is_card,
    ),
    rule("iban", &[], r"\b([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)\b", personal::is_iban),
    rule(
        "phone",
        &[],
        r"(?:^|[^0-9A-Za-z+.-])(\+[1-9][0-9](?:[ .()-]{0,2}[0-9]){6,13}|\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[.-][0-9]{4})(?:$|[^0-9A-Za-z-])",
        personal::is_phone,
    ),
    Pattern {
        name: "ip_address",
        words: &[],
        pattern: r"(?:^|[^0-9A-Za-z.:])([0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7})(?:$|[^0-9A-Za-z.:])",
        check: personal::is_ip,
        optional: true,
    },
];

/// `config.api_key_v2`, `src/auth/token_v1.rs`, an address: names of things, not the things.
fn looks_like_reference(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['.', '/']).collect();
    let wordy = |part: &&str| part.len() < 16 || entropy(part) < 3.3;
    parts.len() > 1 && parts.iter().all(wordy)
}
