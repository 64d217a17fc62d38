//! Values of outcomes that replaced another one, by experiment.
//!
//! An outcome names a request and no experiment. Like the outcome itself, the replacement counts for all experiments but
//! those that its request is known not to be of. With several experiments, this takes a look at all exposures, so that the
//! result is kept for a while where that takes long.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::live::Failure;
use crate::store::Store;
use crate::verdict::hash;

/// A look that takes no longer is taken again whenever something was stored.
const QUICK: Duration = Duration::from_millis(100);
/// A longer one is taken again after a rest of so many times as long.
const REST: u32 = 4;

const TABLE: &str = "replaced_outcome";

/// Replaced values by metric, as they were at a moment.
#[derive(Debug)]
pub(crate) struct Replaced {
    version: u64,
    made: Instant,
    cost: Duration,
    counts: BTreeMap<String, i64>,
}

impl Replaced {
    fn is_fresh(&self, version: u64) -> bool {
        let rests = self.cost > QUICK && self.made.elapsed() < self.cost * REST;
        self.version == version || rests
    }
}

impl Store {
    /// How many values of each metric replaced another one.
    pub(crate) fn replaced(&self, name: &str) -> Result<BTreeMap<String, i64>, Failure> {
        let lock = || self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version();
        if let Some(known) = lock().get(name).filter(|known| known.is_fresh(version)) {
            return Ok(known.counts.clone());
        }
        let begun = Instant::now();
        let counts = self.count_replaced(name)?;
        let (made, cost) = (Instant::now(), begun.elapsed());
        let known = Replaced { version, made, cost, counts: counts.clone() };
        lock().insert(name.to_owned(), known);
        Ok(counts)
    }

    fn count_replaced(&self, name: &str) -> Result<BTreeMap<String, i64>, Failure> {
        let mut counts = BTreeMap::new();
        let database = self.reader()?;
        let mut find =
            database.prepare("SELECT request_id, name, replaced FROM replaced_outcome")?;
        if !find.exists([])? {
            return Ok(counts);
        }
        // A row that moves to a segment meanwhile may be missed; the next look finds it.
        let others = self.requests_of_others(name, &self.log(name)?, &[TABLE])?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let request = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            if !others.contains(&hash(request)) {
                *counts.entry(row.get(1)?).or_default() += row.get::<_, i64>(2)?;
            }
        }
        Ok(counts)
    }
}
