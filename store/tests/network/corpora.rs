//! The fuzz target of the store without a fuzzer: each file of its corpus goes through its parser. `make fuzz` searches for more.

#[path = "../../../fuzz/src/store.rs"]
#[allow(unreachable_pub, reason = "in fuzz/ it is a library")]
mod store;

use std::path::Path;

use sidetrack_store::fuzzing::PARSERS;

#[test]
fn inputs_that_the_fuzzer_found() {
    let mut count = [0; PARSERS.len()];
    for kind in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join("store");
        // Until something fails, there are no regressions.
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| store::run(&data));
            assert!(outcome.is_ok(), "{} fails, see above", path.display());
            count[usize::from(data[0].wrapping_sub(b'0')) % PARSERS.len()] += 1;
        }
    }
    for ((name, _), count) in PARSERS.iter().zip(count) {
        assert!(count >= 2, "{name}: {count} inputs");
    }
}
