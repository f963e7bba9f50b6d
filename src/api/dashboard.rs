//! The dashboard: one page and its files, which are in the program (`src/dashboard`, packed by `build.rs`).
//!
//! They hold no data, so no token is asked for; all that the page shows it asks of the query API. A policy keeps it
//! from running or fetching anything that is not from here, whatever a stored text may contain.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

/// One file.
struct Asset {
    path: &'static str,
    media: &'static str,
    etag: &'static str,
    /// Its bytes, by gzip.
    packed: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    // A new version of the program is a new version of the page.
    ("cache-control", "no-cache"),
    ("vary", "accept-encoding"),
];

/// The file at a path; `None` where there is none.
pub(super) fn file(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    for (name, value) in HEADERS {
        out.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
    out.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    if holds(headers, header::IF_NONE_MATCH, |tag| tag.strip_prefix("W/").unwrap_or(tag) == asset.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    let refuses = |item: &str| item.replace(' ', "") == "gzip;q=0";
    if holds(headers, header::ACCEPT_ENCODING, |item| item.starts_with("gzip") && !refuses(item)) {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *response.body_mut() = Body::from(asset.packed);
    } else {
        *response.body_mut() = Body::from(unpacked(asset.packed));
    }
    Some(response)
}

/// Whether one of a header's items, which commas part, is as asked.
fn holds(headers: &HeaderMap, name: HeaderName, is: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(',')).map(str::trim).any(is)
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was packed when the program was built can be unpacked.
    let _ = flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_stay_small() {
        let sum: usize = ASSETS.iter().map(|asset| asset.packed.len()).sum();
        assert!(ASSETS.iter().any(|asset| asset.path == "/"), "there is no page");
        assert!(sum < 120 * 1024, "{sum} bytes packed");
    }

    #[test]
    fn every_file_that_is_imported_is_served() {
        for asset in ASSETS.iter().filter(|asset| !asset.path.starts_with("/vendor/")) {
            let text = String::from_utf8(unpacked(asset.packed)).unwrap();
            let folder: Vec<&str> = asset.path.split('/').skip(1).collect();
            for part in text.split(" from \"").skip(1) {
                let named = part.split('"').next().unwrap_or_default();
                let mut path = folder[..folder.len() - 1].to_vec();
                for step in named.split('/') {
                    match step {
                        "." => {}
                        ".." => drop(path.pop()),
                        name => path.push(name),
                    }
                }
                let wanted = format!("/{}", path.join("/"));
                assert!(ASSETS.iter().any(|other| other.path == wanted), "{}: {wanted} is not there", asset.path);
            }
        }
    }

    #[test]
    fn files_are_compressed_for_those_who_take_it_and_sent_once() {
        let asset = ASSETS.iter().find(|asset| asset.path == "/app.js").unwrap();
        let ask = |name: HeaderName, value: &str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
            file(&Method::GET, "/app.js", &headers).unwrap()
        };
        for (accepted, coding) in
            [("gzip, deflate, br", Some("gzip")), ("br, gzip;q=0.5", Some("gzip")), ("gzip;q=0", None), ("br", None)]
        {
            let response = ask(header::ACCEPT_ENCODING, accepted);
            let found = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(found, coding, "{accepted}");
        }
        let tag = asset.etag;
        assert_eq!(ask(header::IF_NONE_MATCH, tag).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(header::IF_NONE_MATCH, &format!("\"other\", W/{tag}")).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(header::IF_NONE_MATCH, "\"other\"").status(), StatusCode::OK);
    }

    #[test]
    fn no_file_needs_what_the_policy_forbids() {
        for asset in ASSETS.iter().filter(|asset| !asset.path.starts_with("/vendor/")) {
            let text = String::from_utf8(unpacked(asset.packed)).unwrap();
            for forbidden in
                ["innerHTML", "dangerouslySetInnerHTML", "insertAdjacentHTML", "eval(", "https://", " style=\""]
            {
                assert!(!text.contains(forbidden), "{}: {forbidden}", asset.path);
            }
        }
    }
}
