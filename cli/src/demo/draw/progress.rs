//! A snapshot in one line of at most 80 columns, for pipes and logs.

use super::style::{fraction, latency, percent};
use crate::demo::input::Kind;
use crate::demo::observe::{Snapshot, VariantStats};

pub(crate) fn progress(snapshot: &Snapshot<'_>) -> String {
    let client = &snapshot.client;
    let common = format!(
        "{:>4} s {:>9} requests {:>5.0}/s  {} failed",
        snapshot.elapsed.as_secs(),
        client.requests,
        snapshot.rate,
        client.failed,
    );
    match snapshot.kind {
        Kind::Split => {
            let users = client.users();
            let share = |variant: &VariantStats| percent(fraction(variant.users, users));
            let shares: Vec<String> = client.variants.iter().map(share).collect();
            let p99 = latency(client.p99);
            format!("{common}  p99 {p99:>7}  users {}", shares.join(" | "))
        }
        Kind::Outage => {
            let second = client.slices.rchunks(4).next().unwrap_or_default();
            let (candidates, all) = second.iter().fold((0, 0), |(candidates, all), slice| {
                (candidates + slice.from_candidates, all + slice.responses)
            });
            let state = snapshot.scrape.breaker.state.as_str();
            let share = percent(fraction(candidates, all));
            format!("{common}  breaker {state:<9}  candidate {share:>6}")
        }
    }
}
