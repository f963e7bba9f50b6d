//! Counts allocations while bodies are decoded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

// The system's allocator does the work; only sizes are added up beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

/// Decodes the recorded requests of one sort, and a hostile one of 4 MB, with `decode`, which answers
/// how many spans it found; prints allocations and peak beside the body's bytes.
pub fn measure(decode: impl Fn(&[u8]) -> usize) {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/");
    let recorded = |name: &str| std::fs::read(format!("{captures}{name}")).expect("a capture");
    let wrap = |items: &[u8]| field(1, &field(2, items));
    let ids = [field(1, &[1; 16]), field(2, &[1; 8])].concat();
    let bodies = [
        ("content, 41 spans", recorded("content-proto/001.v1_traces.body.bin")),
        ("plain, 7 spans", recorded("v2026.9.6-local-3turns/005.v1_traces.body.bin")),
        ("1.9 million empty spans", wrap(&field(2, b"").repeat(1_900_000))),
        ("1.9 million empty attributes", wrap(&field(2, &[ids, field(9, b"").repeat(1_900_000)].concat()))),
    ];
    for (name, body) in bodies {
        let (held, count) = (NOW.load(Relaxed), COUNT.load(Relaxed));
        PEAK.store(held, Relaxed);
        let spans = decode(&body);
        let (peak, count) = (PEAK.load(Relaxed) - held, COUNT.load(Relaxed) - count);
        println!("| {name} | {} | {spans} | {count} | {peak} | {:.1} |", body.len(), peak as f64 / body.len() as f64);
    }
}
