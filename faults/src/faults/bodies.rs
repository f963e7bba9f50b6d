//! Bodies that nobody should send.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::load::gzip;

/// A bad body.
pub(super) struct Bad {
    /// What is bad about it.
    pub(super) what: &'static str,
    /// Its `Content-Type`.
    pub(super) content_type: &'static str,
    /// Its `Content-Encoding`.
    pub(super) encoding: Option<&'static str>,
    /// Itself.
    pub(super) body: Vec<u8>,
    /// It must be refused; others may be taken in part, or as they can be read.
    pub(super) never_taken: bool,
}

/// Small on the wire, and large behind it.
pub(super) fn bomb(random: &mut StdRng) -> Bad {
    // Made once: it takes longer to make than to send.
    static GZIP: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    static ZSTD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let plain = || {
        let mut body = br#"{"kind":"log","name":""#.to_vec();
        body.resize(200_000_000, b'a');
        body
    };
    let (what, encoding, body) = if random.random() {
        ("a gzip bomb", "gzip", GZIP.get_or_init(|| gzip(&plain())))
    } else {
        let zstd = || zstd::encode_all(&plain()[..], 1).expect("memory can be compressed");
        ("a zstd bomb", "zstd", ZSTD.get_or_init(zstd))
    };
    Bad { what, content_type: "application/json", encoding: Some(encoding), body: body.clone(), never_taken: true }
}

/// One of the traps of JSON, text and numbers.
pub(super) fn nasty(random: &mut StdRng) -> Bad {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"kind":"log","input":{open}{close}}}"#).into_bytes()
    };
    let event = |more: &str| format!(r#"{{"kind":"log",{more}}}"#).into_bytes();
    let hour_back = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let (what, body, never_taken) = match random.random_range(0..18) {
        0 => ("JSON of 100 levels", nested(100), false),
        1 => ("JSON of 100,000 levels", nested(100_000), true),
        2 => ("a string of 10 MB", event(&format!(r#""name":"{}""#, "x".repeat(10 << 20))), true),
        3 => ("invalid UTF-8", [&b"{\"kind\":\"log\",\"name\":\"\xff\xfe\xc0\x80"[..], b"\"}"].concat(), true),
        4 => ("a lone surrogate", event(r#""name":"\ud800","input":"\udc00 \ud800 x""#), false),
        5 => ("NUL in a string", event(r#""name":"a\u0000b","session_id":"\u0000""#), false),
        6 => ("a raw NUL", b"{\"kind\":\"log\",\"name\":\"\0\"}".to_vec(), true),
        7 => ("a key given twice", event(r#""name":"a","name":"b""#), true),
        8 => ("a number out of range", event(r#""duration_ms":1e999"#), true),
        9 => ("a large number inside", event(r#""input":{"n":1e999,"m":-9999999999999999999999999999}"#), false),
        10 => ("a timestamp out of range", event(r#""timestamp":99999999999999999999"#), true),
        11 => ("a timestamp an hour back", event(&format!(r#""timestamp":{hour_back}"#)), false),
        12 => ("no kind", br#"{"name":"x"}"#.to_vec(), true),
        13 => ("a trace_id that is none", event(r#""trace_id":"not-a-uuid""#), true),
        14 => (
            "a thousand and one events",
            [&b"["[..], &br#"{"kind":"log"},"#.repeat(1000), br#"{"kind":"log"}]"#].concat(),
            true,
        ),
        15 => ("an id of 10 kB", event(&format!(r#""session_id":"{}""#, "s".repeat(10_000))), true),
        16 => ("nothing", Vec::new(), true),
        _ => ("bytes at random", (0..random.random_range(1..5000)).map(|_| random.random()).collect(), true),
    };
    Bad { what, content_type: "application/json", encoding: None, body, never_taken }
}
