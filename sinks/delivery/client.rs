//! HTTP to the receiver: one `POST` with a bound on everything.
//!
//! * TLS by rustls with ring and Mozilla's roots compiled in (the machine's image may have no CA
//!   files), plus `ca_file`.
//! * No redirects: a 307 would carry the token and the events to a host nobody configured.
//! * No proxy from the environment: what the agent's tools use is not meant for its traces.
//! * Connecting, the whole request and the answer's length are bounded.
//! * Tokens are in headers marked sensitive; messages never hold them, nor the endpoint's query.
//!
//! The client is made at the first request: until then it costs no memory, and a `ca_file` that
//! cannot be read is a failed cycle that is tried again, not the end of the process.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use engine::config::Secret;
use reqwest::header::{HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Url, redirect, retry};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Reply, Request, retry_after};

/// Sends bodies. A trait, so that tests can hold the receiver and the clock.
#[async_trait]
pub(crate) trait Transport: Send + Sync {
    /// # Errors
    /// Why no whole answer came, for people.
    async fn post(&mut self, request: Request) -> Result<Reply, String>;
}

/// Where to send: an `http` or `https` address without user name. Prints without its query, which
/// may hold a key.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// # Errors
    /// What is wrong with the text; the text itself is not repeated.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let example = "https://api.example.com/v1/push";
        let url = Url::parse(text.trim()).map_err(|error| format!("is not a URL ({error}); write it as {example}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(format!("must begin with https:// or http:// and name a host, as {example}"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password; there are settings of their own for those".to_owned());
        }
        Ok(Self(url))
    }

    /// The same with these added to its query.
    pub(crate) fn with_query<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut url, mut parameters) = (self.0.clone(), parameters.into_iter().peekable());
        if parameters.peek().is_some() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        Self(url)
    }

    /// The same with `path` where it names none.
    pub(crate) fn or_path(mut self, path: &str) -> Self {
        if matches!(self.0.path(), "" | "/") {
            self.0.set_path(path);
        }
        self
    }

    /// A place below it: `path` added to its own, the query kept.
    pub(crate) fn below(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        Self(url)
    }

    /// Whether what is sent can be read on the way: plain HTTP to another machine. Names that only
    /// exist inside Fly.io's encrypted private network do not count.
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = ip.map_or(host == "localhost" || host.ends_with(".localhost"), |ip| ip.is_loopback());
        let private = host.ends_with(".internal") || host.ends_with(".flycast");
        self.0.scheme() == "http" && !loopback && !private
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

/// The real transport.
pub(crate) struct Http {
    ca_file: Option<PathBuf>,
    timeout: Duration,
    client: Option<reqwest::Client>,
}

impl Http {
    /// One whose requests take at most `timeout`, and that also trusts the authorities of `ca_file`.
    pub(crate) fn new(ca_file: Option<PathBuf>, timeout: Duration) -> Self {
        Self { ca_file, timeout, client: None }
    }
}

impl Http {
    fn connect(&self) -> Result<reqwest::Client, String> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .user_agent(concat!("openclaw-trace/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            .timeout(self.timeout)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| format!("HTTP client: {}", describe(error)))
    }

    fn tls(&self) -> Result<rustls::ClientConfig, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &self.ca_file {
            let problem = |what: String| format!("ca_file {}: {what}", path.display());
            let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
            let mut found = 0;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| problem(format!("not PEM: {error:?}")))?;
                roots.add(certificate).map_err(|error| problem(error.to_string()))?;
                found += 1;
            }
            if found == 0 {
                return Err(problem("holds no certificate; it must be PEM".to_owned()));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

#[async_trait]
impl Transport for Http {
    async fn post(&mut self, request: Request) -> Result<Reply, String> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(self.connect()?).clone(),
        };
        let Request { endpoint, headers, body, max_answer } = request;
        let mut response =
            client.post(endpoint.0.clone()).headers(headers).body(body).send().await.map_err(describe)?;

        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut reply = Reply {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER).and_then(|value| retry_after::parse(value, SystemTime::now())),
            location: header(LOCATION).and_then(|value| {
                let target = endpoint.0.join(value).ok()?;
                target.host_str().map(|host| format!("{}://{host}", target.scheme()))
            }),
            headers: response.headers().clone(),
            ..Reply::default()
        };
        let confirms = matches!(reply.status, 200..300);
        let bound = if confirms { max_answer } else { 4096 };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if reply.body.len() + chunk.len() > bound => {
                    reply.cut = true;
                    break;
                }
                Ok(Some(chunk)) => reply.body.extend_from_slice(&chunk),
                Ok(None) => break,
                // A half-read list of rejected events must not confirm the other half.
                Err(error) if confirms => return Err(describe(error)),
                Err(_) => break,
            }
        }
        Ok(reply)
    }
}

/// The `Authorization` header; `None` without a token or with one that no header can hold, which
/// `build` refuses.
pub(crate) fn bearer(token: &Secret) -> Option<HeaderValue> {
    if token.is_empty() {
        return None;
    }
    secret_value(&format!("Bearer {}", token.reveal()))
}

/// A header's value that is not printed; `None` where no header can hold it.
pub(crate) fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The error with its causes, without the address, whose query may hold a key.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some layers repeat the cause in their own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_prints_without_its_query_and_takes_no_user_name() {
        let endpoint = Endpoint::parse("https://api.example.com:8443/v1/push?key=hunter2#x").unwrap();
        assert_eq!(endpoint.to_string(), "https://api.example.com:8443/v1/push");
        for text in ["", "api.example.com", "ftp://a.example", "https://u:hunter2@a.example/", "https://"] {
            let problem = Endpoint::parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_place_below_an_endpoint_keeps_its_path_and_query() {
        for (base, below) in [
            ("https://a.example", "https://a.example/v1/logs"),
            ("https://a.example:4318/", "https://a.example:4318/v1/logs"),
            ("https://a.example/api/public/otel/", "https://a.example/api/public/otel/v1/logs"),
        ] {
            assert_eq!(Endpoint::parse(base).unwrap().below("v1/logs").to_string(), below);
        }
        let keyed = Endpoint::parse("https://a.example/otlp?key=k").unwrap().below("v1/logs");
        assert_eq!(keyed.0.as_str(), "https://a.example/otlp/v1/logs?key=k");
    }

    #[test]
    fn plain_http_to_another_machine_is_exposed() {
        let exposed = |text| Endpoint::parse(text).unwrap().is_exposed();
        assert!(exposed("http://api.example.com/"));
        assert!(exposed("http://10.0.0.1/"));
        for text in [
            "https://api.example.com/",
            "http://127.0.0.9:1/",
            "http://[::1]/",
            "http://localhost/",
            "http://api.internal/",
        ] {
            assert!(!exposed(text), "{text}");
        }
    }

    fn http(ca_file: Option<PathBuf>) -> Http {
        Http::new(ca_file, Duration::from_secs(1))
    }

    #[test]
    fn the_client_is_built_without_a_process_wide_crypto_provider() {
        http(None).connect().unwrap();
    }

    #[test]
    fn a_ca_file_that_holds_no_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = http(Some(file.path().into())).connect().unwrap_err();
        assert!(error.contains("holds no certificate"), "{error}");
        let error = http(Some("/nowhere/ca.pem".into())).connect().unwrap_err();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
