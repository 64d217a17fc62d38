//! Frames as a terminal of 80 columns shows them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::commands::{Targets, Traffic, commands};
use super::{frame, header, progress, verdict};
use crate::demo::input::Kind;
use crate::demo::observe::example::{BASELINE, CANDIDATE, Example};
use crate::demo::observe::{BreakerPhase, Slice, checks};
use crate::out::Ink;

fn split() -> Example {
    let mut example = Example::new(Kind::Split);
    for (variant, count) in [(CANDIDATE, 300), (BASELINE, 700)] {
        for user in example.users_of(variant, count) {
            example.serve(user, variant);
        }
    }
    example
}

fn outage() -> Example {
    let mut example = Example::new(Kind::Outage);
    let users = example.users_of(CANDIDATE, 30);
    for user in &users {
        example.serve(*user, BASELINE);
    }
    example.start_recovery();
    for user in users {
        example.serve(user, CANDIDATE);
    }
    for user in example.users_of(BASELINE, 70) {
        example.serve(user, BASELINE);
    }
    example.scrape.breaker.fallbacks = 30;
    example.scrape.breaker.trips = 1;
    example.scrape.variants[CANDIDATE].failures += 5;
    example.scrape.variants[CANDIDATE].model += 5;
    example.events.last_after_fifth = Some(Duration::ZERO);
    let at = Duration::from_millis;
    example.events.health = vec![(at(0), true), (at(3000), false), (at(5500), true)];
    let half_open = |share: &str| BreakerPhase::HalfOpen(share.to_owned());
    for (millis, phase, text) in [
        (3100, BreakerPhase::Open, "the breaker opens for 4.1 s"),
        (7200, half_open("5"), "the breaker is half-open: 5 percent"),
        (10_000, half_open("25"), "the breaker is half-open: 25 percent"),
        (11_000, half_open("100"), "the breaker is half-open: 100 percent"),
        (11_800, BreakerPhase::Closed, "the breaker is closed"),
    ] {
        example.transition(millis, phase, text);
    }
    example
}

/// Every line fits, and is printed without trailing blanks.
fn text(lines: &[String]) -> String {
    for line in lines {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn a_frame_of_the_split() {
    let example = split();
    let snapshot = example.snapshot();
    let frame = frame(&snapshot, &checks(&snapshot), false, Ink::PLAIN);
    insta::assert_snapshot!(text(&frame), @r"
A/B test on live traffic              ━━━━━━━━━━━━━━━━━━━━━━━━    20 s of 20 s
30 % of the users get enhanced-predictor, the others the baseline. A user gets
the same model every time: the ID is in a header, a cookie or the query.

1000 requests   500 per second   0 failed   p50 1.2 ms   p99 1.2 ms

variant             users         requests                              target
baseline-predictor    700  70.0 %      700  70.0 %  ██████████████│░░░░░  70 %
enhanced-predictor    300  30.0 %      300  30.0 %  ██████│░░░░░░░░░░░░░  30 %

✓ answered  1000 requests, 0 failed
✓ sticky    0 users returned, 0 of them switched variants
✓ split     user shares match the weights (chi-square p = 1.000)
✓ predicted the core predicts the variant of 1000 of 1000 requests
✓ counted   metrics 1000, models 1000, client 1000

Why does user 4711 get enhanced-predictor?
Salt and user ID hash to bucket 21263; enhanced-predictor holds 0 to 299999.
0 ██████████████████░░░░░░░░░░░░······························ 1000000
   ▲ bucket 21263
  █ enhanced-predictor 30 %   · baseline-predictor 70 %   ░ reserve (baseline)
✓ Envoy agrees: x-ab-bucket: 21263, served by model 2.0.0
");
}

#[test]
fn the_last_frame_of_an_outage() {
    let example = outage();
    let mut snapshot = example.snapshot();
    let slice = |from_candidates| Slice { responses: 100, from_candidates };
    let shares = [(12, 30), (17, 0), (11, 2), (4, 8), (3, 30), (17, 30)];
    snapshot.client.slices =
        shares.iter().flat_map(|(count, share)| vec![slice(*share); *count]).collect();
    let frame = frame(&snapshot, &checks(&snapshot), true, Ink::PLAIN);
    insta::assert_snapshot!(text(&frame), @r"
Model failure and recovery                                                20 s
The enhanced model starts to return 503. The breaker moves its users to the
baseline and back in stages; failover retries failed requests at the baseline.

130 requests   500 per second   0 failed   p50 1.2 ms   p99 1.2 ms


  30 %  ████████████                                ████████████████████
        ████████████                 ▁▁▁▁▁▁▁▁▁▁▁▄▄▄▄████████████████████
model   healthy ━━━━ 503 ━━━━━ healthy ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
breaker closed ━━━━━ open ━━━━━━━━━━ 5 % ━━━━━━━ ━━━ ━━ closed ━━━━━━━━━

503s from the model              5, no request after the fifth
served by the baseline instead   30 requests from 30 users
failures seen by clients         0

   s  Envoy's log of financial-ab-test/enhanced-predictor
 3.1  the breaker opens for 4.1 s
 7.2  the breaker is half-open: 5 percent
10.0  the breaker is half-open: 25 percent
11.0  the breaker is half-open: 100 percent
11.8  the breaker is closed

✓ answered  130 requests, 0 failed
✓ isolated  the failing model received no request after its fifth failure
✓ breaker   1 trip: open, 5 %, 25 %, 100 %, closed
✓ fallback  the baseline kept 70 users and took over 30 of 30 others
✓ recovered shares of 100 users match the weights (chi-square p = 1.000)
✓ counted   metrics 130, models 130, client 130; fallbacks 30
");
}

/// The chart and the log show what the events contain, and nothing if they contain nothing.
#[test]
fn every_transition_of_the_breaker_is_shown() {
    let example = outage();
    let mut snapshot = example.snapshot();
    let shown = |snapshot: &_| text(&frame(snapshot, &[], false, Ink::PLAIN));
    let texts: Vec<String> =
        snapshot.events.transitions.iter().map(|transition| transition.text.clone()).collect();
    assert!(texts.iter().all(|text| shown(&snapshot).contains(text)), "{}", shown(&snapshot));
    snapshot.events.transitions.clear();
    assert!(!shown(&snapshot).contains("the breaker opens"), "{}", shown(&snapshot));
}

#[test]
fn lines_for_pipes_fit_80_columns() {
    let (split, outage) = (split(), outage());
    let lines = [&split, &outage].map(|example| {
        let mut snapshot = example.snapshot();
        // The largest numbers that a demo of an hour shows.
        snapshot.client.requests = 1_800_000;
        snapshot.elapsed = Duration::from_secs(3600);
        snapshot.client.p99 = Duration::from_millis(1234);
        progress(&snapshot)
    });
    insta::assert_snapshot!(text(&lines), @r"
3600 s   1800000 requests   500/s  0 failed  p99 1234 ms  users 70.0 % | 30.0 %
3600 s   1800000 requests   500/s  0 failed  breaker closed     candidate  0.0 %
");
}

#[test]
fn verdicts_name_the_first_problem_and_a_busy_machine() {
    let example = split();
    let mut snapshot = example.snapshot();
    let passed = verdict(&snapshot, &checks(&snapshot), Ink::PLAIN);
    snapshot.scrape.variants[BASELINE].metrics += 1;
    snapshot.client.unexpected = 1;
    snapshot.client.first_problem = Some("user 7 switched variants".to_owned());
    snapshot.rate = 123.4;
    let failed = verdict(&snapshot, &checks(&snapshot), Ink::PLAIN);
    let outage = outage();
    let mut interrupted = outage.snapshot();
    interrupted.interrupted = true;
    let early = verdict(&interrupted, &checks(&interrupted), Ink::PLAIN);
    insta::assert_snapshot!(text(&[passed, failed, early].concat()), @r"
All checks passed: 1000 requests from 1000 users, one model per user.

2 of 5 checks failed.
First problem: user 7 switched variants.
This machine is busy: it sent 123 instead of 500 requests per second.

All checks passed (interrupted): no client saw a failure.
");
}

/// Commands are copied whole, so they may be longer than a line.
#[test]
fn commands_contain_the_real_addresses() {
    let example = split();
    let snapshot = example.snapshot();
    let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let targets = Targets {
        plan: snapshot.plan,
        addr: addr(10_001),
        admin: addr(9902),
        models: vec![addr(1), addr(2)],
        exposures: Path::new("/tmp/demo/exposures.jsonl"),
        traffic: Some(Traffic { rate: 500, length: Duration::from_secs(600) }),
    };
    let lines =
        [header("1.40.0", 2, targets.addr, Ink::PLAIN), commands(&targets, Ink::PLAIN)].concat();
    insta::assert_snapshot!(lines.join("\n"), @r"
 Sidetrack  Envoy 1.40.0 with the filter, 2 workers, http://127.0.0.1:10001


 Try it yourself

 # A user. Repeat it: the same model responds.
curl -si http://127.0.0.1:10001/v2/models/forecast/infer -d '{}' -H 'x-user-id: 4711'

 # A tester requests the enhanced model with a header.
curl -si http://127.0.0.1:10001/v2/models/forecast/infer -d '{}' -H 'x-ab-force: enhanced-predictor'

 # Why does this user get this model?
curl -si http://127.0.0.1:10001/v2/models/forecast/infer -d '{}' -H 'x-user-id: 4711' -H 'x-ab-debug: 1' | grep x-ab-

 # The metrics that Prometheus scrapes.
curl -s http://127.0.0.1:9902/stats/prometheus | grep '^ab_test_'

 # The exposure log for `sidetrack analyze`: one line per request.
tail -n 3 /tmp/demo/exposures.jsonl

 # Make the enhanced model fail.
curl -s -X POST 'http://127.0.0.1:2/_stub/behavior?status=503'

 # Within a second its breaker is open (2); the baseline serves its users.
curl -s http://127.0.0.1:9902/stats/prometheus | grep ^ab_test_breaker_state

 # Heal it: half-open (1) after 4 seconds, closed (0) about 10 seconds later.
curl -s -X POST 'http://127.0.0.1:2/_stub/behavior?status=200'

 Envoy 127.0.0.1:10001   admin interface 127.0.0.1:9902
 models baseline-predictor 127.0.0.1:1   enhanced-predictor 127.0.0.1:2

 Traffic continues for 10 minutes, 500 requests per second.
 Everything runs until you press Ctrl-C.
");
}
