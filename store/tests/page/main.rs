//! The live page: what it shows in each state, what it refuses, how it learns of changes, and a real browser.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod browser;
mod chromium;
mod crowd;
mod events;
mod evidence;
mod safety;
mod served;
mod states;
