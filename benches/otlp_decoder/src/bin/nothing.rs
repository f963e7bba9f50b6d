//! The frame of the two others, for the size of a binary without any decoder.

fn main() {
    otlp_decoder::measure(|body| body.len().min(1));
}
