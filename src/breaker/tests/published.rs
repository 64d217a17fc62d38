//! What the tests of other breakers demand, retold as sequences and played on ours.
//!
//! The letters and numbers are those of the survey: R resilience4j, P Polly, G gobreaker, H
//! Hystrix, J failsafe, E Envoy's outlier detection, T tower-resilience, W wedged breakers in bug
//! reports. Others judge on each outcome and trip *at* the limit; we judge on ticks and trip
//! strictly *above* it, and recover in three stages instead of by permits.
//!
//! Without a row: R9 and G4's third ask (we give out no permits; `recovery` shows what happens
//! instead), R11 (there is no forced state), R13 and G2 (windows of a fixed number of calls, or
//! ones that are cleared whole), P12 and the factor of R5 (`recovery`), E3 (outliers among many
//! hosts; O7 is our comparison).

use serde_json::{Value, json};

use super::script::{Row, play};

/// The bare rate at a limit, over a window.
fn bare(percent: u32, window: &str, min_requests: u32, open_for: &str) -> Value {
    json!({
        "error_rate": percent, "window": window, "min_requests": min_requests, "open_for": open_for,
        "confidence": 0, "consecutive_errors": 0, "compare_to_baseline": false,
    })
}

fn slow(mut breaker: Value, over: &str, percent: u32) -> Value {
    breaker["slow"] = json!({"over": over, "rate": percent});
    breaker
}

fn with(mut breaker: Value, key: &str, value: impl Into<Value>) -> Value {
    breaker[key] = value.into();
    breaker
}

/// Only failures in a row count.
fn in_a_row(count: u32, open_for: &str) -> Value {
    json!({"consecutive_errors": count, "error_rate": 100, "open_for": open_for})
}

#[test]
fn trips_as_published() {
    let r = || slow(bare(50, "20s", 5, "5s"), "4s", 50);
    let p = || bare(50, "10s", 4, "30s");
    let p9 = || bare(10, "10s", 10, "30s");
    let h = || bare(50, "10s", 1, "1s");
    play(&[
        Row {
            name: "R1 four outcomes are not enough to judge; the fifth trips though it is a success",
            differs: "",
            breaker: r(),
            script: "F@0 F F S closed S open errors trips=1",
        },
        Row {
            name: "R2 below the limit it stays, at the limit it trips",
            differs: "strictly above: three of six stay, four of seven trip",
            breaker: r(),
            script: "S@0 S@1 S@2 F@3 F@4 closed F@5 closed F open",
        },
        Row {
            name: "R3 slow answers trip by themselves, and a failure may be slow too",
            differs: "",
            breaker: r(),
            script: "sF@0 s F S closed s open slow",
        },
        Row {
            name: "P1 a success as the last outcome does not trip",
            differs: "judged on the tick, whatever came last",
            breaker: p(),
            script: "F@0 F F S open",
        },
        Row {
            name: "P2 a failure long after finds too few calls",
            differs: "",
            breaker: p(),
            script: "S@0 S F F@20 closed #1",
        },
        Row {
            name: "P3 what is as old as the window is outside",
            differs: "",
            breaker: p(),
            script: "S@0 S F F@10 closed #1",
        },
        Row {
            name: "P4 only the two youngest of four are left",
            differs: "",
            breaker: p(),
            script: "S@0 S F@9.999 F@10 closed #2",
        },
        Row {
            name: "P5 a moment before the end of the window all four count",
            differs: "",
            breaker: p(),
            script: "F@0 F F F@9.999 open",
        },
        Row {
            name: "P6 the oldest call leaves and the rest is at the limit",
            differs: "strictly above: two of four stay",
            breaker: p(),
            script: "S@0 S@9.999 S F F@10 #4 closed",
        },
        Row {
            name: "P7 the oldest call leaves and the rest is too few",
            differs: "",
            breaker: p(),
            script: "S@0 F@9.999 F F@10 #3 closed",
        },
        Row {
            name: "P8 the oldest call leaves and three of four failed",
            differs: "",
            breaker: p(),
            script: "S@0 F@1 F S F@10 open",
        },
        Row {
            name: "P9 ten calls, none failed",
            differs: "",
            breaker: p9(),
            script: "10S@0 closed",
        },
        Row {
            name: "P9 ten calls, one failed",
            differs: "strictly above",
            breaker: p9(),
            script: "9S@0 F closed",
        },
        Row {
            name: "P9 ten calls, two failed",
            differs: "",
            breaker: p9(),
            script: "8S@0 2F open",
        },
        Row {
            name: "P9 eleven calls, a fifth failed",
            differs: "",
            breaker: p9(),
            script: "8S@0 3F open",
        },
        Row {
            name: "P9 nine calls are too few",
            differs: "",
            breaker: p9(),
            script: "8S@0 F closed",
        },
        Row {
            name: "H1 half of eight calls failed, one after the other",
            differs: "strictly above: a fifth failure is needed",
            breaker: h(),
            script: "4S@0 4F closed F open",
        },
        Row {
            name: "H2 half of eight calls failed, mixed",
            differs: "strictly above; theirs trips",
            breaker: h(),
            script: "S@0 S F S F S F F closed",
        },
        Row {
            name: "H3 three of eight failed",
            differs: "",
            breaker: h(),
            script: "S@0 S F S S F S F closed",
        },
        Row {
            name: "H4 four failures are no volume",
            differs: "",
            breaker: bare(50, "10s", 5, "1s"),
            script: "4F@0 closed",
        },
        Row {
            name: "G1 the sixth failure in a row trips, a success begins anew",
            differs: "",
            breaker: in_a_row(6, "60s"),
            script: "5F@0 closed S F closed 4F closed F open streak",
        },
        Row {
            name: "E1 the fifth in a row ejects, not the fifth in all",
            differs: "",
            breaker: in_a_row(5, "30s"),
            script: "F@0 S 4F closed F open streak trips=1",
        },
        Row {
            name: "E4 every second request fails, none in a row",
            differs: "",
            breaker: in_a_row(5, "30s"),
            script: "F@0 S F S F S F S F S F S F S F S F S F S F S F S F S F S F S F S F S F S F S closed",
        },
        Row {
            name: "R12 without enforcement it never opens, and the crossing is told once",
            differs: "",
            breaker: with(r(), "mode", "dry_run"),
            script: "3F@0 2S open trips=1 F open F@1 open trips=1",
        },
    ]);
}

#[test]
fn windows_as_published() {
    // The limit of 100 percent never trips: only the counting is looked at.
    let window = |window| bare(100, window, 1, "5s");
    play(&[
        Row {
            name: "R14 buckets leave whole, however the calls lie in them",
            differs: "",
            breaker: window("5s"),
            script: "F@0 #1 S@0.1 #2 S@0.2 #3 S@1.2 #4 S@2.2 #5 F@3.2 #6 S@4.2 #7 S@5.2 #5 S@6.2 #5 S@11.2 #1",
        },
        Row {
            name: "R15 all are there just before the end and none a second later",
            differs: "",
            breaker: window("5s"),
            script: "F@0 S@0.1 sF@0.8 @4.8 #3 @5.8 #0",
        },
        Row {
            name: "P13 one call a second",
            differs: "",
            breaker: window("10s"),
            script: "S@0 S@1 S@2 S@3 S@4 S@5 S@6 S@7 S@8 S@9 #10 @10 #9 @11 #8",
        },
        Row {
            name: "J1 buckets that nothing fell into are cleared as the time passes over them",
            differs: "",
            breaker: window("4s"),
            script: "10S@0 40F #50 10S@1 #60 20F@2.5 #80 5S@3.1 20F #105 8S@5.4 #53 5F@7.3 #13 @22.5 #0",
        },
        Row {
            name: "G6 the first bucket leaves exactly when the eleventh begins; then fourteen of 23 trip",
            differs: "",
            breaker: bare(60, "30s", 3, "60s"),
            script: "15S@0 S@3 S@6 S@9 S@12 S@15 S@18 S@21 S@24 S@27 #24 @29.999 #24 @30 #9 13F closed F open",
        },
    ]);
}

#[test]
fn recovers_as_published() {
    let r = || slow(bare(50, "20s", 4, "5s"), "4s", 50);
    let g = || bare(50, "20s", 3, "60s");
    let h = || bare(50, "10s", 1, "1s");
    play(&[
        Row {
            name: "R4 closed to callers until the time has passed, then on trial with nothing counted",
            differs: "",
            breaker: r(),
            script: "4F@0 open @3 open @5.5 5%",
        },
        Row {
            name: "R5 the second time takes longer",
            differs: "twice as long, not one and a half times",
            breaker: r(),
            script: "4F@0 open @5.5 5% 4F open @11.5 open @14.4 open @16.5 5%",
        },
        Row {
            name: "R6 three of four trial calls fail",
            differs: "",
            breaker: r(),
            script: "4F@0 open @6 5% F F S 5% F open trips=2",
        },
        Row {
            name: "R7 slow trial calls re-open it without a failure",
            differs: "",
            breaker: r(),
            script: "4F@0 open @6 5% s s s S open slow",
        },
        Row {
            name: "R8 one of four trial calls fails, under the limit",
            differs: "the first of three stages passes; theirs is closed",
            breaker: r(),
            script: "4F@0 open @6 5% F S S S 25% F S S S 100% F S S S closed #0",
        },
        Row {
            name: "R10 calls without a verdict use nothing up",
            differs: "stages instead of permits",
            breaker: r(),
            script: "4F@0 open @6 5% S S S X 5% F 25%",
        },
        Row {
            name: "P10 W1 a trial call that never reports does not stop the next ones",
            differs: "all units of the stage may try, and without an outcome the stage widens",
            breaker: bare(50, "10s", 4, "30s"),
            script: "4F@0 open @26.9 open @33 5% X X @60 100% X X @3600 100% 4S closed",
        },
        Row {
            name: "P11 what began before the trip and fails after it prolongs nothing",
            differs: "",
            breaker: bare(50, "10s", 4, "30s"),
            script: "4F@0 open @20 late:9F open trips=1 @33 5% late:9F 5% trips=1",
        },
        Row {
            name: "G1 the time passes, a trial fails, the time passes, trials succeed",
            differs: "stages of min_requests, which widen without outcomes; ±10 % around 60 s",
            breaker: bare(5, "30s", 1, "60s"),
            script: "F@0 open @53.9 open @62 5% F open @169 open @210 100% S closed trips=2",
        },
        Row {
            name: "G3 aborted trial calls use nothing up, a failure re-opens",
            differs: "",
            breaker: with(g(), "error_rate", 30),
            script: "3F@0 open @62 5% X X X X 5% F open",
        },
        Row {
            name: "G4 so many successes are needed",
            differs: "for each of three stages",
            breaker: g(),
            script: "3F@0 open @62 5% S S 5% S 25% S S 25% S 100% S S 100% S closed",
        },
        Row {
            name: "G5 a call from before a transition is dropped",
            differs: "what counts is the transition, not that the window was cleared",
            breaker: g(),
            script: "3F@0 open @62 5% late:2S late:2F 5% S S S 25% late:3F 25% trips=1",
        },
        Row {
            name: "H5 after the sleep a part may try",
            differs: "a share of the units, not one call",
            breaker: h(),
            script: "F@0 open @0.8 open @1.1 5% @2 5%",
        },
        Row {
            name: "H6 after closing, failures from before do not trip it again",
            differs: "",
            breaker: bare(50, "3600s", 1, "1s"),
            script: "50F@0 open @1.1 5% S 25% S 100% S closed #0 @2 closed S F closed @60 closed trips=1",
        },
        Row {
            name: "H7 two trials fail, the third does not",
            differs: "",
            breaker: h(),
            script: "F@0 open @1.1 5% F open @3.4 5% F open @8 5% S 25% S 100% S closed trips=3",
        },
        Row {
            name: "E2 out for the base time, then back",
            differs: "back in stages; ±10 % around 30 s",
            breaker: in_a_row(5, "30s"),
            script: "5F@0 open @9.999 open @26.9 open @33 5%",
        },
        Row {
            name: "T1 requests that were refused on trial count for nobody",
            differs: "they go to the baseline, and count for it",
            breaker: r(),
            script: "4F@0 open @6 5% b:40F b:40S 5% 4S 25%",
        },
    ]);
}

#[test]
fn what_is_never_true_is_refused_when_loaded() {
    // E5: Envoy raises a maximum that was left out to the base time; we say what to write instead.
    for (open_for, max_open_for, good) in [
        ("6m", None, false),
        ("6m", Some("5m"), false),
        ("6m", Some("6m"), true),
        ("5m", None, true),
    ] {
        let mut breaker = json!({"open_for": open_for});
        if let Some(max) = max_open_for {
            breaker["max_open_for"] = json!(max);
        }
        let file = json!({"experiments": [{
            "name": "e", "unit": [{"header": "x-user-id"}], "baseline": "old",
            "variants": [{"name": "old"}, {"name": "new", "weight": 1}], "breaker": breaker,
        }]});
        let parsed = crate::config::parse_json(file.to_string().as_bytes());
        assert_eq!(parsed.is_ok(), good, "{breaker}: {parsed:?}");
    }
}
