//! x
pub struct Redact;
