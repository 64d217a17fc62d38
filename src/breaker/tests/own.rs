//! What no published test covers, by the survey's numbers.
//!
//! Elsewhere: O10 to O13 in `recovery`, O14 in `clock`, O16 in `workers`. Of the filter, and not of
//! this core: O17 (overridden requests do not count) and O18 (callers that hang up), which are
//! never passed to `LocalOutcomes::ended`. O19 (a retry that rescues a failure elsewhere) is
//! `outcome::Ending::outcome`.

use crate::breaker::{Breaker, End, Rule, State};
use crate::outcome::Ending;
use crate::quantity::Timestamp;
use serde_json::{Value, json};

use super::proxy::{START, Side, rule};
use super::script::{Row, play, run};

fn defaults() -> Value {
    json!({})
}

/// The defaults, but only rates are judged.
fn rates(more: &Value) -> Value {
    let mut breaker = json!({"consecutive_errors": 0});
    breaker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    breaker
}

#[test]
fn trips_as_we_mean_it() {
    let bare = || rates(&json!({"confidence": 0}));
    let slow = || rates(&json!({"confidence": 0, "slow": {"over": "200ms", "rate": 5}}));
    let row = |name, breaker, script| Row { name, differs: "", breaker, script };
    play(&[
        row(
            "O1 exactly five percent is not above five percent",
            bare(),
            "95S@0 5F closed @60 closed",
        ),
        row("O1 nor is it with confidence", rates(&json!({})), "95S@0 5F closed"),
        row("O2 six of a hundred is, when the bare rate decides", bare(), "94S@0 6F open errors"),
        row(
            "O3 the last outcome was a success, and the tick opens all the same",
            rates(&json!({"confidence": 0, "min_requests": 4})),
            "F@0 F F S open",
        ),
        row("O4 two of twenty may be chance", rates(&json!({})), "18S@0 2F closed"),
        row("O4 65 of a thousand may be chance", rates(&json!({})), "935S@0 65F closed"),
        row("O4 72 of a thousand hardly", rates(&json!({})), "928S@0 72F open"),
        row("O4 five of twenty hardly", rates(&json!({})), "15S@0 5F open"),
        row("O5 one slow answer of twenty: p95 is not over the limit", slow(), "19S@0 s closed"),
        row("O5 two slow answers of twenty: p95 is over the limit", slow(), "18S@0 2s open slow"),
        row(
            "O6 both fail nine times in a hundred: shared",
            bare(),
            "b:810S@0 b:90F 91S 9F closed @1 closed trips=0",
        ),
        row("O7 only the candidate does: tripped", bare(), "b:891S@0 b:9F 91S 9F open errors"),
        row(
            "O6 a shared fault with confidence: 30 of 100 against 300 of 1000",
            rates(&json!({})),
            "b:700S@0 b:300F 70S 30F closed",
        ),
        row(
            "O7 the same without a comparison",
            rates(&json!({"compare_to_baseline": false})),
            "b:700S@0 b:300F 70S 30F open",
        ),
        row("a baseline that fails as often excuses it", bare(), "b:20F@0 80S 20F closed"),
        row("also with few requests", bare(), "b:3F@0 b:7S 80S 20F closed"),
        row("or just before the window", bare(), "b:20F@0 @34 80S 20F closed"),
        row("not long before it", bare(), "b:20F@0 @70 80S 20F open"),
        row("a few good ones do not", bare(), "b:5S@0 60S 40F open errors"),
        row("but they are more than none", bare(), "b:S@0 98S 6F closed"),
        row(
            "O8 five failures in a row at one request in five seconds",
            defaults(),
            "F@0 F@5 F@10 F@15 closed F@20 open streak",
        ),
        row(
            "O8 beside a healthy baseline",
            defaults(),
            "b:S@0 F@1 b:S@3 F@6 b:S@8 F@11 b:S@13 F@16 b:S@18 closed F@21 open streak",
        ),
        row(
            "one error in three requests trips nothing",
            defaults(),
            "F@0 S S closed @3600 closed trips=0",
        ),
        row("one error of one trips nothing", defaults(), "F@0 closed @3600 closed trips=0"),
        row(
            "four in a row, a success, and four more trip nothing",
            defaults(),
            "4F@0 closed S 4F closed trips=0",
        ),
        row(
            "failures leave the window, and the rest is judged without a new request",
            rates(&json!({"confidence": 0})),
            "20S@0 22S@5 2F@9 closed @29.9 closed @30 open errors",
        ),
    ]);
}

#[test]
fn what_ends_late_changes_nothing() {
    // O9, with the moment of the return and the whole record looked at.
    let before = run(&defaults(), "5F@0 open").unwrap();
    let late = run(&defaults(), "5F@0 open late:F@10 late:F late:F @12 open trips=1").unwrap();
    assert_eq!(before.state(), late.state());
    assert!(
        matches!(late.state(), State::Open(until) if (27_000..=33_000).contains(&(until.get() - START)))
    );
}

#[test]
fn a_reload_keeps_the_state_and_a_new_window_only_loses_counts() {
    // O15: the filter finds the record under the experiment's and the variant's name; another name
    // finds none.
    let reload = |script: &str, rule: &Rule, after: u64| {
        let bytes = run(&defaults(), script).unwrap().record(Side::Candidate).encode();
        let mut record = Breaker::decode(&bytes).unwrap();
        let now = Timestamp::new(START + after);
        record.advance(rule, now, &record.counts(now).into(), || None, 7);
        record
    };
    let same = rule(&defaults());
    let other = rule(&json!({"window": "60s"}));
    for rule in [&same, &other] {
        let open = reload("5F@0 open", rule, 5000);
        assert!(matches!(open.state(), State::Open(until) if until.get() > START + 26_000));
        assert_eq!(open.epoch(), 1);
    }
    let now = Timestamp::new(START + 5000);
    assert_eq!(
        reload("30S@0 F #31", &same, 5000).counts(now).requests,
        62,
        "31 that were there and 31 told"
    );
    assert_eq!(
        reload("30S@0 F #31", &other, 5000).counts(now).requests,
        31,
        "only those that were told"
    );
    let half_open = reload("5F@0 open @34 5% S S S 5%", &other, 34_000);
    assert!(
        matches!(half_open.state(), State::HalfOpen(0, seen) if seen.requests == 3),
        "{half_open:?}"
    );
}

#[test]
fn a_rescued_failure_is_one() {
    let rescued = Ending { code: 200, attempts: 2, failed_over: true, ..Ending::default() };
    assert_eq!(rescued.outcome().end, End::Failed);
}
