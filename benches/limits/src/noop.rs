//! What HTTP alone costs: an axum handler that reads the body and answers 200, on one thread as the product's.
//!
//! ```text
//! noop 127.0.0.1:PORT
//! ```
//!
//! Runs until it is ended.

use std::process::ExitCode;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

async fn taken(body: Bytes) -> &'static str {
    if body.is_empty() { "empty" } else { r#"{"accepted":1}"# }
}

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("noop: name an address to listen on, such as 127.0.0.1:9999");
        return ExitCode::from(2);
    };
    let serving = async {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        let limit = axum::extract::DefaultBodyLimit::max(64 << 20);
        let router = Router::new().route("/v1/events", post(taken)).route("/v1/traces", post(taken)).layer(limit);
        axum::serve(listener, router).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serving)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noop: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
