//! OTLP's answers, in the client's encoding: `Export…ServiceResponse` with its partial success, and
//! `google.rpc.Status` for a refusal.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use engine::json::push_escaped;

use super::wire::Writer;

/// How the client writes, and so how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// All was taken, or all but `rejected`, of which `problem` says why. A request that is partly
    /// rejected is not to be sent again, so the status is 200 all the same.
    pub(crate) fn taken(self, signal: super::Signal, rejected: u64, problem: Option<&str>) -> Response<Body> {
        let problem = problem.unwrap_or_default();
        let body = match self {
            Self::Protobuf => {
                let mut out = Writer::default();
                if rejected > 0 {
                    let partial = out.begin(1);
                    out.integer(1, rejected);
                    out.bytes(2, problem.as_bytes());
                    out.end(partial);
                }
                out.0
            }
            Self::Json if rejected == 0 => b"{}".to_vec(),
            Self::Json => {
                let name = signal.rejected();
                let mut out = format!("{{\"partialSuccess\":{{\"{name}\":\"{rejected}\",\"errorMessage\":");
                push_escaped(&mut out, problem);
                out.push_str("}}");
                out.into_bytes()
            }
        };
        self.response(StatusCode::OK, body)
    }

    /// Nothing was taken.
    pub(crate) fn refused(self, status: StatusCode, message: &str) -> Response<Body> {
        let code = grpc_code(status);
        let body = match self {
            Self::Protobuf => {
                let mut out = Writer::default();
                out.integer(1, code);
                out.bytes(2, message.as_bytes());
                out.0
            }
            Self::Json => {
                let mut out = format!("{{\"code\":{code},\"message\":");
                push_escaped(&mut out, message);
                out.push('}');
                out.into_bytes()
            }
        };
        self.response(status, body)
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let kind = match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// The code of `google.rpc.Code` that stands for an HTTP status.
fn grpc_code(status: StatusCode) -> u64 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        408 => 4,
        413 | 429 => 8,
        503 => 14,
        _ => 3,
    }
}
