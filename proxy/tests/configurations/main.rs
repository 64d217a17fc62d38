//! Good and bad texts in any order, on workers that start, crash and lag: the newest good one is in
//! force, and it alone.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod order;
mod proxy;
mod store;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use sidetrack::breaker::{Store, SwapError};
use sidetrack::config;

const PLUGIN: &str = "sidetrack";
const TEXTS: [&str; 6] = [
    r#"{"experiments": [{"name": "a", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 10}]}]}"#,
    r#"{"experiments": [{"name": "b", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 20}]}]}"#,
    r#"{"experiments": [{"name": "x"}]}"#,
    "{",
    r#"{"experiments": []}"#,
    " ",
];
/// It means that there is no configuration yet.
const EMPTY: usize = 5;

/// The hash that each text puts in force, if it is good, and that of a configuration without
/// experiments.
static HASHES: LazyLock<[Option<u32>; 6]> = LazyLock::new(|| {
    TEXTS.map(|text| config::parse_json(text.as_bytes()).ok().map(|plan| plan.hash.first_32_bits()))
});

fn hash(text: usize) -> Option<u32> {
    HASHES[text]
}

#[derive(Default)]
struct Memory(RefCell<BTreeMap<String, (Vec<u8>, u32)>>);

impl Store for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        let mut values = self.0.borrow_mut();
        let now = values.get(key).map_or(0, |(_, version)| *version);
        if version != 0 && version != now {
            return Err(SwapError::Conflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), now + 1));
        Ok(())
    }
}
