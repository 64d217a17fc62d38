//! A limit of records per second, as a bucket that holds two seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many records may come.
#[derive(Debug)]
pub(super) struct Rate {
    limit: Option<f64>,
    state: Mutex<(Instant, f64)>,
}

impl Rate {
    pub(super) fn new(limit: Option<u32>) -> Self {
        let limit = limit.map(f64::from);
        Self { limit, state: Mutex::new((Instant::now(), limit.unwrap_or(0.0) * 2.0)) }
    }

    /// Takes so many records, or says after how many seconds there is room. One request may overdraw the bucket, so that
    /// no batch is too large for ever.
    pub(super) fn take(&self, records: usize) -> Result<(), u32> {
        let Some(limit) = self.limit else { return Ok(()) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (last, left) = *state;
        let left = (left + limit * now.duration_since(last).as_secs_f64()).min(limit * 2.0);
        if left <= 0.0 {
            *state = (now, left);
            let seconds = (-left / limit).ceil().clamp(1.0, 3600.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 1 to 3600"
            )]
            return Err(seconds as u32);
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let records = records as f64;
        *state = (now, left - records);
        Ok(())
    }
}
