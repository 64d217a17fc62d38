use super::*;

const DAY: u64 = 86_400_000;

fn ppm(percent: u32) -> Ppm {
    Ppm::new(percent * 10_000).unwrap()
}

fn step(weight: u32, days: u64, min_units: u64) -> Step {
    Step { weight: ppm(weight), min_for: Millis::new(days * DAY), min_units }
}

/// Two days at 5 %, 3000 units, no harm; the steps are 5, 15 and 30 %.
fn good() -> Evidence {
    Evidence {
        decision: Decision::Inconclusive,
        wins: false,
        reasons: vec!["because".to_owned()],
        faults: vec![],
        harms: vec![],
        asked: Some(1.0),
        unknown: vec![],
        unjudged: vec![],
        is_plan_reached: false,
        has_traffic: true,
        phase: Some(Phase {
            from: Timestamp::new(10 * DAY),
            to: Timestamp::new(12 * DAY),
            units: Some(3000),
        }),
    }
}

/// The decision for a weight, with changes to what is known.
fn decided(weight: u32, change: impl FnOnce(&mut Facts<'_>, &mut Option<Evidence>)) -> Verdict {
    let steps = [step(5, 1, 2000), step(15, 1, 0), step(30, 7, 0)];
    let mut evidence = Some(good());
    let mut facts = Facts {
        candidate: "new",
        steps: &steps,
        weight: ppm(weight),
        enabled: true,
        block: None,
        stop: None,
        start: false,
        evidence: None,
        no_evidence: "no evidence is given",
        fleet: Fleet::default(),
        now: Timestamp::new(12 * DAY + 60_000),
        max_age: Millis::new(3_600_000),
    };
    change(&mut facts, &mut evidence);
    decide(&Facts { evidence: evidence.as_ref(), ..facts })
}

fn held(verdict: &Verdict, words: &str) {
    assert_eq!(verdict.action, Action::Hold, "{verdict:?}");
    assert!(verdict.reasons.join("; ").contains(words), "{verdict:?}");
}

#[test]
fn a_step_that_is_over_leads_to_the_next() {
    assert_eq!(decided(5, |_, _| {}).action, Action::Raise(ppm(15)));
    assert_eq!(decided(15, |_, _| {}).action, Action::Raise(ppm(30)));
}

#[test]
fn time_that_is_missing_holds_and_has_an_end() {
    let verdict = decided(5, |_, evidence| {
        evidence.as_mut().unwrap().phase.as_mut().unwrap().from =
            Timestamp::new(12 * DAY - DAY / 4);
    });
    held(&verdict, "has lasted 6h, but needs 1d");
    assert_eq!(verdict.about, Some(Timestamp::new(12 * DAY + DAY * 3 / 4)));
}

#[test]
fn units_that_are_missing_hold_and_have_an_end() {
    let units = |units: Option<u64>| {
        decided(5, |_, evidence| {
            evidence.as_mut().unwrap().phase.as_mut().unwrap().units = units;
        })
    };
    let verdict = units(Some(1000));
    held(&verdict, "has 1000 units, but needs 2000");
    // 1000 in two days are 2000 in four.
    assert_eq!(verdict.about, Some(Timestamp::new(14 * DAY)));
    held(&units(Some(0)), "has 0 units");
    assert_eq!(units(Some(0)).about, None);
    assert_eq!(units(Some(2000)).action, Action::Raise(ppm(15)));
    held(&units(None), "identifies only requests");
}

#[test]
fn harm_rolls_back_before_all_else() {
    let harm = |weight: u32, change: fn(&mut Facts<'_>)| {
        let verdict = decided(weight, |facts, evidence| {
            change(facts);
            let evidence = evidence.as_mut().unwrap();
            evidence.harms = vec!["errors".to_owned()];
            evidence.phase = None;
        });
        assert_eq!(
            (verdict.action, verdict.reasons),
            (Action::RollBack, vec!["errors".to_owned()])
        );
    };
    harm(5, |_| {});
    harm(30, |facts| facts.now = Timestamp::new(30 * DAY));
    harm(15, |facts| facts.block = Some("rolled back"));
    // A weight between the steps as well.
    harm(7, |_| {});
}

#[test]
fn invalid_data_hold_also_when_they_show_harm() {
    let verdict = decided(5, |_, evidence| {
        let evidence = evidence.as_mut().unwrap();
        evidence.decision = Decision::Invalid;
        evidence.harms = vec!["errors".to_owned()];
    });
    assert_eq!((verdict.action, verdict.reasons), (Action::Invalid, vec!["because".to_owned()]));
}

#[test]
fn a_fault_of_the_candidate_rolls_back_also_when_the_data_are_invalid() {
    let verdict = decided(5, |_, evidence| {
        let evidence = evidence.as_mut().unwrap();
        evidence.decision = Decision::Invalid;
        evidence.faults = vec!["404".to_owned()];
    });
    assert_eq!((verdict.action, verdict.reasons), (Action::RollBack, vec!["404".to_owned()]));
}

#[test]
fn a_candidate_whose_requests_others_answered_is_not_raised() {
    let asked = |weight: u32, share: Option<f64>| {
        decided(weight, |_, evidence| evidence.as_mut().unwrap().asked = share)
    };
    held(&asked(5, Some(0.02)), "only 2.0 % of the requests of new reached it");
    assert_eq!(asked(5, Some(0.95)).action, Action::Raise(ppm(15)));
    assert_eq!(asked(5, None).action, Action::Raise(ppm(15)));
}

#[test]
fn a_guardrail_without_data_holds() {
    let verdict = decided(5, |_, evidence| {
        evidence.as_mut().unwrap().unknown = vec!["latency_p95".to_owned()];
    });
    held(&verdict, "latency_p95 has no data");
}

/// Labels may be days late, and a raise needs no verdict on them. But who raises should know.
#[test]
fn a_primary_metric_that_cannot_be_judged_does_not_hold_and_is_named() {
    let verdict = decided(5, |_, evidence| {
        evidence.as_mut().unwrap().unjudged = vec![("accuracy".to_owned(), "no data".to_owned())];
    });
    assert_eq!(verdict.action, Action::Raise(ppm(15)));
    assert_eq!(verdict.reasons[2], "accuracy cannot be judged yet: no data");
}

#[test]
fn more_than_half_of_at_least_two_proxies_roll_back() {
    let fleet = |tripped: u64, all: u64| {
        decided(5, |facts, evidence| {
            facts.fleet.tripped = Some((tripped, all));
            // What the logs say does not matter.
            evidence.as_mut().unwrap().decision = Decision::Invalid;
        })
        .action
    };
    for (tripped, all, wanted) in [
        (1, 1, Action::Invalid),
        (1, 2, Action::Invalid),
        (2, 2, Action::RollBack),
        (2, 4, Action::Invalid),
        (3, 4, Action::RollBack),
        (0, 9, Action::Invalid),
    ] {
        assert_eq!(fleet(tripped, all), wanted, "{tripped} of {all}");
    }
}

#[test]
fn no_ready_endpoint_rolls_back_and_does_not_start() {
    let verdict = decided(5, |facts, evidence| {
        facts.fleet.endpoints = Some(0);
        *evidence = None;
    });
    assert_eq!(verdict.action, Action::RollBack);
    let verdict = decided(0, |facts, _| {
        (facts.fleet.endpoints, facts.start) = (Some(0), true);
    });
    held(&verdict, "no ready endpoint");
    assert_eq!(
        decided(5, |facts, _| facts.fleet.endpoints = Some(1)).action,
        Action::Raise(ppm(15))
    );
}

#[test]
fn a_rollback_blocks_raises() {
    held(&decided(0, |facts, _| facts.block = Some("rolled back")), "rolled back");
    held(&decided(0, |facts, _| (facts.block, facts.start) = (Some("x"), true)), "x");
    held(&decided(5, |facts, _| facts.block = Some("rolled back")), "rolled back");
}

#[test]
fn the_first_step_begins_when_there_was_no_traffic() {
    let new = |start: bool, has_traffic: Option<bool>| {
        decided(0, |facts, evidence| {
            facts.start = start;
            match has_traffic {
                None => *evidence = None,
                Some(has_traffic) => evidence.as_mut().unwrap().has_traffic = has_traffic,
            }
        })
    };
    assert_eq!(new(false, Some(false)).action, Action::Raise(ppm(5)));
    assert_eq!(new(true, Some(true)).action, Action::Raise(ppm(5)));
    assert_eq!(new(true, None).action, Action::Raise(ppm(5)));
    held(&new(false, Some(true)), "stopped by hand");
    held(&new(false, None), "--start");
}

#[test]
fn old_missing_or_foreign_evidence_holds() {
    held(&decided(5, |facts, _| facts.now = Timestamp::new(13 * DAY)), "more than 1h ago");
    held(&decided(5, |_, evidence| *evidence = None), "no evidence is given");
    let verdict = decided(5, |_, evidence| evidence.as_mut().unwrap().phase = None);
    held(&verdict, "not in force yet");
    held(&decided(7, |_, _| {}), "7 %, which is not one of its steps: 5 %, 15 %, 30 %");
    held(&decided(5, |facts, _| facts.enabled = false), "disabled");
}

#[test]
fn only_the_verdict_at_the_end_promotes() {
    let last = |weight: u32, decision: Decision, wins: bool| {
        decided(weight, |_, evidence| {
            let evidence = evidence.as_mut().unwrap();
            (evidence.decision, evidence.wins) = (decision, wins);
            evidence.phase.as_mut().unwrap().from = Timestamp::new(5 * DAY);
        })
    };
    assert_eq!(last(30, Decision::Promote, true).action, Action::Promote);
    held(&last(30, Decision::Promote, false), "another candidate");
    let ended = |verdict: &Verdict, words: &str| {
        assert_eq!(verdict.action, Action::End, "{verdict:?}");
        assert!(verdict.reasons[0].starts_with(OVER) && verdict.reasons[0].contains(words));
    };
    ended(&last(30, Decision::KeepBaseline, false), "keep the baseline");
    let all_units = decided(30, |_, evidence| {
        let evidence = evidence.as_mut().unwrap();
        evidence.is_plan_reached = true;
        evidence.phase.as_mut().unwrap().from = Timestamp::new(5 * DAY);
    });
    ended(&all_units, "did not show");
    held(&last(30, Decision::Inconclusive, false), "still open");
    assert_eq!(last(5, Decision::Promote, true).action, Action::Raise(ppm(15)));
    // Its time must be over as well.
    held(&decided(30, |_, evidence| evidence.as_mut().unwrap().wins = true), "needs 7d");
}

#[test]
fn a_log_of_the_future_raises_nothing_and_still_rolls_back() {
    let early = Timestamp::new(12 * DAY - 7_200_000);
    held(&decided(5, |facts, _| facts.now = early), "in the future");
    // A clock that is slightly behind does not hold.
    let behind = Timestamp::new(12 * DAY - 600_000);
    assert_eq!(decided(5, |facts, _| facts.now = behind).action, Action::Raise(ppm(15)));
    let harm = decided(5, |facts, evidence| {
        facts.now = early;
        evidence.as_mut().unwrap().harms = vec!["errors".to_owned()];
    });
    assert_eq!(harm.action, Action::RollBack);
}
