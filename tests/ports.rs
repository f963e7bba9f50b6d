//! A port that somebody else has: the start ends, and says which one and what to do.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::Home;

#[test]
fn a_port_that_is_taken_ends_the_start_with_its_address_and_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, variable) in [("sources.http.bind", "TRACE_PORT"), ("api.bind", "TRACE_API_PORT")] {
        let home = Home::new();
        let output = home.setup().set(key, &address).output();
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        for part in [&address[..], variable, "another process has the port"] {
            assert!(output.stderr.contains(part), "{key}: {part} is not in:\n{}", output.stderr);
        }
    }
}
