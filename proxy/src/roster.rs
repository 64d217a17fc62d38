//! Rows of texts in the store, by plugin: what each plugin of the proxy publishes and claims.

use sidetrack::breaker::{Store, SwapError, announce};

/// How often a write is tried that loses the race.
const TRIES: u32 = 16;

const ROW: char = '\u{1e}';
const CELL: char = '\u{1f}';

/// A row: the plugin's name, and the rest.
pub(crate) type Row = (String, String);

/// All rows of a key.
pub(crate) fn rows(store: &impl Store, key: &str) -> Vec<Row> {
    decode(&store.get(key).map(|(bytes, _)| bytes).unwrap_or_default())
}

/// Replaces the rows of a plugin, and announces it. Returns all rows before and after the change, or `None` if
/// nothing was written: the rows are the same, or the store does not work.
pub(crate) fn replace(
    store: &impl Store,
    key: &str,
    plugin: &str,
    new: &[String],
) -> Option<(Vec<Row>, Vec<Row>)> {
    for _ in 0..TRIES {
        let (bytes, version) = store.get(key).unwrap_or_default();
        let before = decode(&bytes);
        let (own, others): (Vec<Row>, Vec<Row>) =
            before.iter().cloned().partition(|(owner, _)| owner == plugin);
        if own.iter().map(|(_, text)| text).eq(new) {
            return None;
        }
        let mut after = others;
        after.extend(new.iter().map(|text| (plugin.to_owned(), text.clone())));
        match store.swap(key, &encode(&after), version) {
            Ok(()) => {
                announce(store);
                return Some((before, after));
            }
            Err(SwapError::Conflict) => {}
            Err(SwapError::Unavailable) => return None,
        }
    }
    None
}

/// Never empty: Envoy does not distinguish an empty value from none.
fn encode(rows: &[Row]) -> Vec<u8> {
    let row = |(plugin, text): &Row| format!("{}{CELL}{text}{ROW}", plugin.replace(CELL, " "));
    let text: String = rows.iter().map(row).collect();
    format!("{ROW}{text}").into_bytes()
}

fn decode(bytes: &[u8]) -> Vec<Row> {
    let text = String::from_utf8_lossy(bytes);
    let row = |row: &str| row.split_once(CELL).map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.split(ROW).filter_map(row).collect()
}
