//! OpenTelemetry's own messages, by prost; no event is made of them yet.

use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
use prost::Message as _;

fn main() {
    // All three are linked in, as they would be.
    for kind in std::env::args().skip(1) {
        let body = std::fs::read(&kind).unwrap_or_default();
        println!("{:?}", logs::v1::ExportLogsServiceRequest::decode(&*body).map(|request| request.resource_logs.len()));
        println!("{:?}", metrics::v1::ExportMetricsServiceRequest::decode(&*body).map(|request| request.resource_metrics.len()));
    }
    otlp_decoder::measure(|body| {
        let request = trace::v1::ExportTraceServiceRequest::decode(body).expect("well formed");
        request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
    });
}
