//! Who may ask: `Host` and `Origin` against web pages, a bearer token against everybody else.

use axum::http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq as _;

/// The names under which this listener may be addressed.
///
/// A web page that has its own name resolve to 127.0.0.1 (DNS rebinding) sends that name as `Host`;
/// a page that posts across sites sends its own `Origin`. Both are refused. An IP address cannot be
/// rebound, so every IP address is taken as `Host`.
#[derive(Debug, Clone)]
pub struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// `localhost`, every IP address, and `names`.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).chain(["localhost".to_owned()]).collect();
        Self { names }
    }

    /// Whether the request may be answered.
    ///
    /// # Errors
    /// What to tell the client, with 403.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if let Some(host) = headers.get(header::HOST)
            && !host.to_str().is_ok_and(|host| self.knows(host))
        {
            return Err("Host is not a name of this listener; add it to allowed_hosts");
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("");
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            let same =
                headers.get(header::HOST).and_then(|h| h.to_str().ok()).is_some_and(|h| h.eq_ignore_ascii_case(host));
            if !same {
                return Err("Origin is another site's; requests from web pages elsewhere are refused");
            }
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
        };
        name.parse::<std::net::IpAddr>().is_ok() || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// An optional bearer token.
#[derive(Clone)]
pub struct Bearer {
    token: Vec<u8>,
}

impl Bearer {
    /// Requires `token`; an empty one requires nothing.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { token: token.as_bytes().to_vec() }
    }

    /// Whether the request carries the token, compared in constant time.
    ///
    /// # Errors
    /// 401 and what to tell the client.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        if self.token.is_empty() {
            return Ok(());
        }
        if bool::from(bearer(headers)?.ct_eq(&self.token)) {
            Ok(())
        } else {
            Err((StatusCode::UNAUTHORIZED, "the bearer token is not the right one"))
        }
    }
}

/// The bearer token that a request carries.
///
/// # Errors
/// 401 and what to tell the client, where there is none.
pub fn bearer(headers: &HeaderMap) -> Result<&[u8], (StatusCode, &'static str)> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    given
        .and_then(|value| value.strip_prefix(b"Bearer "))
        .ok_or((StatusCode::UNAUTHORIZED, "a bearer token is required: Authorization: Bearer TOKEN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(hosts: &Hosts, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("test value"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("test value"));
        }
        hosts.check(&headers).is_ok()
    }

    #[test]
    fn a_rebound_name_is_refused_and_addresses_are_not() {
        let hosts = Hosts::new(&["trace.internal".to_owned()]);
        for good in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "[::1]:9090", "[fdaa::3]", "trace.internal:1"] {
            assert!(ask(&hosts, good, None), "{good}");
        }
        for bad in ["evil.example", "evil.example:9090", "localhost.evil.example", ""] {
            assert!(!ask(&hosts, bad, None), "{bad}");
        }
    }

    #[test]
    fn only_its_own_origin_may_ask() {
        let hosts = Hosts::new(&[]);
        assert!(ask(&hosts, "localhost:9091", Some("http://localhost:9091")));
        assert!(!ask(&hosts, "localhost:9091", Some("http://localhost:3000")));
        assert!(!ask(&hosts, "localhost:9091", Some("null")));
    }

    #[test]
    fn a_token_is_asked_for_only_where_one_is_set() {
        let mut headers = HeaderMap::new();
        assert!(Bearer::new("").check(&headers).is_ok());
        assert!(Bearer::new("t").check(&headers).is_err());
        headers.insert(header::AUTHORIZATION, "Bearer t".parse().expect("test value"));
        assert!(Bearer::new("t").check(&headers).is_ok());
        assert!(Bearer::new("tt").check(&headers).is_err());
    }
}
