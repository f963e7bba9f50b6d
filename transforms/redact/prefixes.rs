//! Tokens that begin with a mark of their maker: a prefix, then so many characters of one set.
//!
//! Sources of the forms: the makers' documents, and the kinds that the gitleaks project lists (MIT).

/// The characters that follow the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// `[A-Za-z0-9]`
    Alnum,
    /// `[A-Za-z0-9_-]`
    Word,
    /// `[A-Za-z0-9_.=-]`
    Dotted,
    /// `[A-Za-z0-9+/=_,.-]`
    Base64,
    /// `[0-9a-fA-F]`
    Hex,
    /// `[A-Z0-9]`
    Upper,
}

impl Set {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'='),
            Self::Base64 => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=' | b'+' | b'/' | b',')
            }
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

use Set::{Alnum, Base64, Dotted, Hex, Upper, Word};

/// Rule, prefixes, set, and the least number of characters behind the prefix.
pub(super) const PREFIXES: &[(&str, &[&str], Set, usize)] = &[
    // Model providers and what belongs to them.
    ("anthropic_key", &["sk-ant-"], Word, 20),
    ("openai_key", &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"], Word, 20),
    ("openai_key", &["sk-"], Alnum, 20),
    ("openrouter_key", &["sk-or-"], Word, 20),
    ("google_api_key", &["AIza"], Word, 35),
    ("google_oauth", &["ya29.", "GOCSPX-"], Word, 24),
    ("groq_key", &["gsk_"], Alnum, 32),
    ("xai_key", &["xai-"], Alnum, 32),
    ("perplexity_key", &["pplx-"], Alnum, 32),
    ("huggingface_token", &["hf_", "api_org_"], Alnum, 30),
    ("replicate_token", &["r8_"], Alnum, 30),
    ("fireworks_key", &["fw_", "fpk_"], Alnum, 20),
    ("together_key", &["tgp_v1_"], Word, 30),
    ("cerebras_key", &["csk-"], Alnum, 30),
    ("nvidia_key", &["nvapi-"], Word, 40),
    ("voyage_key", &["pa-"], Word, 40),
    ("tavily_key", &["tvly-"], Word, 20),
    ("elevenlabs_key", &["sk_"], Hex, 40),
    ("jina_key", &["jina_"], Word, 40),
    ("langsmith_key", &["lsv2_pt_", "lsv2_sk_"], Word, 30),
    ("langfuse_key", &["sk-lf-", "pk-lf-"], Word, 30),
    ("firecrawl_key", &["fc-"], Hex, 32),
    ("anyscale_key", &["esecret_"], Alnum, 24),
    ("e2b_key", &["e2b_"], Hex, 30),
    ("aws_bedrock_key", &["ABSK", "bedrock-api-key-"], Base64, 60),
    // Fly.io and chat channels.
    ("fly_token", &["fm2_", "fm1r_", "fm1a_", "FlyV1 fm2_"], Base64, 60),
    ("fly_token", &["fo1_"], Word, 40),
    (
        "slack_token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxd-", "xoxe-", "xoxe.xoxp-", "xoxe.xoxb-"],
        Word,
        20,
    ),
    ("slack_token", &["xapp-"], Word, 30),
    ("meta_token", &["EAA"], Alnum, 80),
    ("matrix_token", &["syt_"], Word, 24),
    // Code and packages.
    ("github_token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Alnum, 36),
    ("github_token", &["github_pat_"], Word, 40),
    (
        "gitlab_token",
        &[
            "glpat-",
            "gldt-",
            "glptt-",
            "glrt-",
            "glcbt-",
            "glft-",
            "glimt-",
            "glagent-",
            "gloas-",
            "glsoat-",
            "glffct-",
            "GR1348941",
        ],
        Dotted,
        20,
    ),
    ("npm_token", &["npm_"], Alnum, 36),
    ("pypi_token", &["pypi-"], Word, 50),
    ("rubygems_token", &["rubygems_"], Hex, 48),
    ("clojars_token", &["CLOJARS_"], Alnum, 60),
    ("docker_token", &["dckr_pat_", "dckr_oat_"], Word, 27),
    ("sourcegraph_token", &["sgp_"], Word, 40),
    ("artifactory_token", &["AKCp", "cmVmdGtuO"], Alnum, 50),
    ("circleci_token", &["CCIPAT_", "CCIPRJ_"], Word, 40),
    ("postman_key", &["PMAK-"], Word, 40),
    ("readme_key", &["rdme_"], Alnum, 60),
    ("octopus_key", &["API-"], Upper, 26),
    // Clouds and hosts.
    ("aws_access_key", &["AKIA", "ASIA", "ABIA", "ACCA"], Upper, 16),
    ("alibaba_key", &["LTAI"], Alnum, 16),
    ("digitalocean_token", &["dop_v1_", "doo_v1_", "dor_v1_"], Hex, 64),
    ("heroku_key", &["HRKU-"], Word, 36),
    ("netlify_token", &["nfp_"], Alnum, 30),
    ("render_key", &["rnd_"], Alnum, 28),
    ("supabase_key", &["sbp_", "sb_secret_"], Word, 30),
    ("planetscale_token", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], Dotted, 32),
    ("databricks_token", &["dapi"], Hex, 32),
    ("openshift_token", &["sha256~"], Word, 43),
    ("cloudflare_key", &["v1.0-"], Word, 100),
    ("scalingo_token", &["tk-us-"], Word, 48),
    ("yandex_key", &["AQVN", "t1."], Dotted, 35),
    ("vault_token", &["hvs.", "hvb.", "hvr."], Word, 24),
    ("doppler_token", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], Dotted, 40),
    ("pulumi_token", &["pul-"], Hex, 40),
    ("prefect_token", &["pnu_"], Alnum, 36),
    ("infracost_key", &["ico-"], Alnum, 32),
    ("age_key", &["AGE-SECRET-KEY-1"], Upper, 58),
    ("onepassword_token", &["ops_eyJ"], Base64, 100),
    ("harness_token", &["pat.", "sat."], Dotted, 60),
    // Observability.
    ("newrelic_key", &["NRAK-", "NRJS-", "NRII-", "NRSP-", "NRIQ-"], Word, 19),
    ("sentry_token", &["sntrys_", "sntryu_"], Base64, 60),
    ("grafana_token", &["glsa_", "glc_"], Base64, 32),
    ("dynatrace_token", &["dt0c01.", "dt0s16."], Dotted, 80),
    // Work and money.
    ("stripe_key", &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "whsec_"], Alnum, 24),
    ("square_token", &["sq0atp-", "sq0csp-"], Word, 22),
    ("shopify_token", &["shpat_", "shpca_", "shppa_", "shpss_"], Hex, 32),
    ("sendgrid_key", &["SG."], Dotted, 60),
    ("brevo_key", &["xkeysib-", "xsmtpsib-"], Word, 60),
    ("mailgun_key", &["key-", "pubkey-"], Hex, 32),
    ("linear_key", &["lin_api_", "lin_oauth_"], Alnum, 40),
    ("notion_token", &["ntn_", "secret_"], Alnum, 43),
    ("figma_token", &["figd_"], Word, 36),
    ("atlassian_token", &["ATATT3", "ATCTT3", "ATBB"], Dotted, 24),
    ("hubspot_token", &["pat-na1-", "pat-eu1-"], Word, 36),
    ("typeform_token", &["tfp_"], Dotted, 50),
    ("adobe_secret", &["p8e-"], Alnum, 32),
    ("adafruit_key", &["aio_"], Alnum, 28),
    ("dropbox_token", &["sl."], Word, 100),
    ("duffel_token", &["duffel_test_", "duffel_live_"], Dotted, 43),
    ("easypost_token", &["EZAK", "EZTK"], Alnum, 54),
    ("flutterwave_key", &["FLWSECK_TEST-", "FLWSECK-", "FLWPUBK_TEST-", "FLWPUBK-"], Alnum, 12),
    ("frameio_token", &["fio-u-"], Dotted, 60),
    ("gocardless_token", &["live_"], Dotted, 40),
    ("intra42_secret", &["s-s4t2ud-", "s-s4t2af-"], Hex, 64),
    ("lob_key", &["test_"], Hex, 35),
    ("mapbox_token", &["pk.eyJ", "sk.eyJ"], Dotted, 60),
    ("settlemint_token", &["sm_aat_", "sm_pat_", "sm_sat_"], Alnum, 16),
    ("shippo_token", &["shippo_live_", "shippo_test_"], Hex, 40),
];
