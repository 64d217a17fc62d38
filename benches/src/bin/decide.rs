//! The decision alone, natively: no host, no Envoy. `decide time` measures and prints; `decide loop N` only decides N
//! times, for callgrind.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use sidetrack::config::parse_json;
use sidetrack::decide::{Gate, Outcome, World, decide};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;

const DECISIONS: u32 = 1_000_000;
const EXPERIMENTS: u32 = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["time"] => time(),
        ["loop", count] => {
            decide_often(&plan(1)?, count.parse()?);
            Ok(())
        }
        _ => Err(anyhow!("usage: decide time | decide loop N")),
    }
}

fn time() -> Result<()> {
    for experiments in [1, EXPERIMENTS] {
        let plan = plan(experiments)?;
        decide_often(&plan, DECISIONS / 10);
        let began = Instant::now();
        decide_often(&plan, DECISIONS);
        let each = began.elapsed().as_nanos() / u128::from(DECISIONS);
        println!("decide, {experiments} experiments: {each} ns");
    }
    let text = file(EXPERIMENTS);
    let began = Instant::now();
    let plan = parse_json(&text).map_err(|problems| anyhow!("{problems:?}"))?;
    println!("load, {EXPERIMENTS} experiments of {} bytes: {:.1?}", text.len(), began.elapsed());
    drop(plan);
    let before = resident_bytes()?;
    // Several, so that what the allocator keeps at hand matters little.
    let plans: Vec<Plan> = (0..10).map(|_| plan_of(&text)).collect::<Result<_>>()?;
    let each =
        resident_bytes()?.saturating_sub(before) / u64::from(EXPERIMENTS) / plans.len() as u64;
    println!("memory: {each} bytes for an experiment");
    Ok(())
}

/// Decides for users who differ, each in the last experiment of the file.
fn decide_often(plan: &Plan, count: u32) {
    let path = format!("/v2/models/forecast-{}/infer", plan.experiments.len() - 1);
    for user in 0..count {
        let unit = format!("user-{user:06}");
        let headers = vec![
            (":authority", "predictor.example.com"),
            (":path", path.as_str()),
            (":method", "GET"),
            ("user-agent", "bench/1"),
            ("accept", "application/json"),
            ("x-user-id", unit.as_str()),
        ];
        let mut world = World { now: Timestamp::new(0), entropy: || 0, gate: &|_, _| Gate::Closed };
        let outcome = decide(plan, &headers, &mut world, &mut ());
        debug_assert!(matches!(outcome, Outcome::Decided(_)));
        black_box(outcome);
    }
}

fn plan(experiments: u32) -> Result<Plan> {
    plan_of(&file(experiments))
}

fn plan_of(text: &[u8]) -> Result<Plan> {
    parse_json(text).map_err(|problems| anyhow!("{problems:?}"))
}

fn file(experiments: u32) -> Vec<u8> {
    let experiment = |number: u32| {
        json!({
            "name": format!("experiment-{number}"),
            "match": {"path": {"prefix": format!("/v2/models/forecast-{number}/")}},
            "unit": [{"header": "x-user-id"}],
            "baseline": "baseline-predictor",
            "variants": [
                {"name": "baseline-predictor", "cluster": "baseline-predictor"},
                {"name": "enhanced-predictor", "cluster": "enhanced-predictor", "weight": 30},
            ],
        })
    };
    let all: Vec<_> = (0..experiments).map(experiment).collect();
    json!({ "experiments": all }).to_string().into_bytes()
}

fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kilobytes * 1024)
}
