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
    let has = |name: HeaderName, wanted: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(wanted))
    };
    if has(header::IF_NONE_MATCH, asset.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    if has(header::ACCEPT_ENCODING, "gzip") {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *response.body_mut() = Body::from(asset.packed);
    } else {
        *response.body_mut() = Body::from(unpacked(asset.packed));
    }
    Some(response)
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was packed when the program was built can be unpacked.
    let _ = flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_its_files_are_small() {
        let sum: usize = ASSETS.iter().map(|asset| asset.packed.len()).sum();
        assert!(ASSETS.iter().any(|asset| asset.path == "/"), "there is no page");
        assert!(sum < 120 * 1024, "{sum} bytes packed");
    }

    #[test]
    fn every_file_that_is_imported_is_there() {
        for asset in ASSETS {
            let text = String::from_utf8(unpacked(asset.packed)).expect("files are text");
            let folder = asset.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for part in text.split("from \"./").skip(1).filter(|_| !asset.path.starts_with("/vendor/")) {
                let named = part.split('"').next().unwrap_or_default();
                let wanted = format!("{folder}/{named}");
                assert!(ASSETS.iter().any(|other| other.path == wanted), "{}: {wanted} is not there", asset.path);
            }
        }
    }
}
