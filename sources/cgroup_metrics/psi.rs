//! Pressure (PSI): how much of the time work stood still for want of CPU, memory or disk.

use std::path::PathBuf;

use super::attributes::{Attributes, Counter, seconds};
use super::files::Files;
use super::find::Bounds;
use super::parse;

const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];
/// `some`: at least one task stood still; `full`: all of them.
const LINES: [&str; 2] = ["some", "full"];

/// Counters of the last sample.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    totals: [[Counter; LINES.len()]; RESOURCES.len()],
}

impl Pressure {
    /// Adds what is known to `out`.
    pub(super) fn observe(&mut self, files: &mut Files, bounds: &Bounds, out: &mut Attributes) {
        for (resource, totals) in RESOURCES.into_iter().zip(&mut self.totals) {
            let path = match bounds.pressure.own() {
                Some(own) => own.join(format!("{resource}.pressure")),
                None => [files.proc_root(), "pressure".as_ref(), resource.as_ref()].iter().collect::<PathBuf>(),
            };
            let text = files.read(&path);
            for (line, total) in LINES.into_iter().zip(totals) {
                let stall = text.as_ref().and_then(|text| parse::pressure(text, line));
                let grew = total.grew(stall.map(|stall| stall.total));
                let name = format!("openclaw_trace.pressure.{resource}.{line}");
                out.fraction(format!("{name}.avg10"), stall.map(|stall| stall.avg10 / 100.0));
                out.fraction(format!("{name}.time"), grew.and_then(|micros| micros.checked_mul(1000)).map(seconds));
            }
        }
        let scope = bounds.scope_of(&bounds.pressure);
        if scope != bounds.scope {
            out.set("openclaw_trace.scope.pressure", scope.as_str());
        }
    }
}
