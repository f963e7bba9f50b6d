//! What the fuzzers were given and what they found, in the ordinary tests.

#![allow(missing_docs)]

use std::fs;
use std::path::Path;

#[test]
fn every_reader_keeps_its_promises_over_the_corpus() {
    for (name, target) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs = 0;
        for entry in entries {
            let path = entry.and_then(|entry| fs::canonicalize(entry.path())).expect("a readable folder");
            println!("{}", path.display());
            let data = fs::read(&path).expect("a readable file");
            target(&data);
            // A cut anywhere must do no harm either.
            for cut in 1..16 {
                target(&data[..data.len() * cut / 16]);
            }
            inputs += 1;
        }
        assert!(inputs > 0, "no corpus for {name}");
    }
}
