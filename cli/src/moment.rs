//! The option `--at` of commands whose result depends on the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use sidetrack::quantity::Timestamp;

/// The time to evaluate.
#[derive(Args, Clone, Copy)]
pub(crate) struct Moment {
    /// The time to evaluate, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse)]
    at: Option<Timestamp>,
}

impl Moment {
    /// The given time, or now.
    pub(crate) fn get(self) -> Timestamp {
        self.at.unwrap_or_else(now)
    }
}

/// The current time, to the second: phases begin and end at full seconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(since.as_secs().saturating_mul(1000))
}

fn parse(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .ok_or_else(|| "expected RFC 3339, such as 2026-11-23T09:00:00Z".to_owned())
}
