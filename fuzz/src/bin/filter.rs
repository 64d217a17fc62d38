#![no_main]
//! The target that is guided by the branches of the module itself: they are counted inside the wasm, and libFuzzer
//! takes them from here as if they were its own.

use std::sync::{Mutex, PoisonError};

/// More than the module has edges.
const MOST: usize = 1 << 16;

// Elsewhere libFuzzer has no such place, and goes by chance.
#[cfg_attr(target_os = "linux", unsafe(link_section = "__libfuzzer_extra_counters"))]
static mut COUNTERS: [u8; MOST] = [0; MOST];

/// libFuzzer runs inputs one after another; this says so to the compiler.
static TURN: Mutex<()> = Mutex::new(());

libfuzzer_sys::fuzz_target!(init: drop(sidetrack_fuzz::filter::run(b"")), |data: &[u8]| {
    let taken = sidetrack_fuzz::filter::run(data);
    assert!(!taken.is_empty(), "the module was not built to be fuzzed; scripts/fuzz.sh does it");
    assert!(taken.len() <= MOST, "{} edges", taken.len());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let counters = &raw mut COUNTERS;
    // SAFETY: nobody else writes, and libFuzzer reads between inputs only. Both ends were checked above.
    unsafe { std::ptr::copy_nonoverlapping(taken.as_ptr(), counters.cast::<u8>(), taken.len()) };
});
