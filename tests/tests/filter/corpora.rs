//! The fuzz targets without a fuzzer: each file under `fuzz/corpus/` and `fuzz/regressions/` goes
//! through its target. `make fuzz` searches for new ones; an input that fails there also fails here
//! until the bug is fixed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]
#![allow(unreachable_pub, reason = "in fuzz/ they are a library")]

#[path = "../../../fuzz/src/body.rs"]
mod body;
#[path = "../../../fuzz/src/config.rs"]
mod config;
#[path = "../../../fuzz/src/decision.rs"]
mod decision;
#[path = "../../../fuzz/src/filter.rs"]
mod filter;
#[path = "../../../fuzz/src/request.rs"]
mod request;
#[path = "../../../fuzz/src/sound.rs"]
mod sound;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs a target over its files; at least so many must be there.
fn replay<T>(target: &str, least: usize, run: fn(&[u8]) -> T) {
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target);
        // Until something fails, there are no regressions.
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            let outcome = catch_unwind(|| drop(run(&data)));
            assert!(outcome.is_ok(), "{} fails, see above", path.display());
            count += 1;
        }
    }
    assert!(count >= least, "only {count} inputs for {target}");
}

#[test]
fn configurations() {
    replay("config", 40, config::run);
}

#[test]
fn requests() {
    replay("request", 10, request::run);
}

#[test]
fn bodies() {
    replay("body", 20, body::run);
}

#[test]
fn decisions() {
    replay("decision", 20, decision::run);
}

#[test]
fn the_module_on_a_strange_host() {
    replay("filter", 20, filter::run);
}
