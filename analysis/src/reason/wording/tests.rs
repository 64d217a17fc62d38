use super::*;
use crate::scale::Scale;

fn finding() -> Finding {
    let effect =
        Effect { difference: Some(0.036), interval: Some((0.029, 0.043)), scale: Scale::Share };
    Finding { variant: "fancy".to_owned(), metric: "accuracy".to_owned(), effect }
}

fn named() -> (String, String) {
    ("fancy".to_owned(), "accuracy".to_owned())
}

#[test]
fn reasons_name_variant_metric_and_numbers() {
    let (variant, metric) = named();
    let not_judged = |guardrail, why| Reason::NotJudged {
        variant: "fancy".to_owned(),
        metric: "accuracy".to_owned(),
        guardrail,
        why,
    };
    let cases = [
        (
            Reason::Better(finding()),
            "fancy is better in accuracy: +3.60 points (CI +2.90 to +4.30)",
        ),
        (Reason::Worse(finding()), "fancy is worse in accuracy: +3.60 points (CI +2.90 to +4.30)"),
        (
            Reason::GuardrailBroken(finding()),
            "fancy breaks the guardrail accuracy: +3.60 points (CI +2.90 to +4.30)",
        ),
        (
            Reason::WorseWithoutBreaker(finding()),
            "without the minutes in which a breaker was open, fancy is worse in accuracy: +3.60 \
             points (CI +2.90 to +4.30)",
        ),
        (
            Reason::GuardrailUnsettled {
                variant: variant.clone(),
                metric: metric.clone(),
                margin: 0.02,
                scale: Scale::Seconds,
            },
            "the guardrail accuracy is not settled: fancy may still be worse by more than 20 ms",
        ),
        (not_judged(false, None), "accuracy cannot be judged for fancy"),
        (
            not_judged(true, Some(sidetrack_stats::result::Undefined::TooFew)),
            "the guardrail accuracy cannot be judged for fancy: too few data",
        ),
        (
            Reason::NoDifference { variant: variant.clone(), metric },
            "fancy: no significant difference in accuracy. This does not show that they are equal",
        ),
        (
            Reason::UnsettledAtPlan { variant: "fancy".to_owned() },
            "the planned number of units is reached and fancy is better, but a guardrail is not \
             settled. Collect more units, or decide whether a wider margin is acceptable",
        ),
        (
            Reason::UnjudgedAtPlan { variant: "fancy".to_owned() },
            "the planned number of units is reached, but no primary metric can be judged for fancy",
        ),
        (
            Reason::NothingBetter { baseline: "plain".to_owned(), harmful: true },
            "the planned number of units is reached, and no candidate is significantly better than \
             plain without harm in another metric",
        ),
        (
            Reason::NothingBetter { baseline: "plain".to_owned(), harmful: false },
            "the planned number of units is reached, and no candidate is significantly better than \
             plain",
        ),
        (Reason::Text("as read".to_owned()), "as read"),
    ];
    for (reason, text) in cases {
        assert_eq!(reason.to_string(), text);
        assert_eq!(serde_json::to_value(&reason).unwrap(), text);
    }
    for (reason, parts) in [
        (
            Reason::WeightsChanged { share: 0.0334 },
            ["3.3 % of the requests", "in which the file was in force (--since, --until)"],
        ),
        (Reason::SampleRatioMismatch, ["sample ratio mismatch", "--allow-srm"]),
        (
            Reason::RequestsDoNotDecide { variant },
            ["fancy would win, but ", &Trap::RequestLevel.to_string()],
        ),
    ] {
        let text = reason.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn notes_give_their_counts() {
    let rows = |rows, problem| Note::OutcomeRows { rows, problem };
    let cases = [
        (
            Note::DefaultPrimary { metric: "revenue".to_owned() },
            "revenue decides, since it is the only column of the outcomes, and higher is taken for \
             better; --metric revenue:decrease decides otherwise",
        ),
        (
            Note::Damaged { file: "a.gz".to_owned(), error: "cut".to_owned(), lines: 7 },
            "a.gz: cut; the 7 lines before that count, and how many are missing is unknown",
        ),
        (
            Note::BreakerOpen { requests: 9, share: 0.0625, minutes: 3 },
            "a breaker was open or recovering for 9 of the candidates' requests (6.2 %), in 3 \
             minutes; they count for the variant they were assigned to",
        ),
        (
            Note::OtherWeights { requests: 4 },
            "4 requests were assigned by other weights than the file's, and their lines do not say by \
             which; they do not count",
        ),
        (
            Note::TornUnits { units: 2 },
            "2 units were assigned to two variants within one phase (a different salt or file?); \
             each counts for its first",
        ),
        (
            Note::Phases { phases: 3 },
            "the weights changed while the experiment ran: 3 phases are compared separately and \
             the differences are merged, never pooled",
        ),
        (
            Note::MovedUnits { units: 8, untimed: false },
            "8 units changed their variant from one phase to another; each counts in each phase \
             for the variant that it was assigned to there",
        ),
        (
            Note::OtherTrials { lines: 9 },
            "9 lines belong to other trials of this experiment (another salt) and do not count",
        ),
        (
            Note::OtherVariant { requests: 6 },
            "6 requests were assigned to variants that the file does not have and do not count",
        ),
        (Note::WithoutUnit { requests: 5 }, "5 requests have no unit and do not count per unit"),
        (
            Note::AbsentZero { metric: "spend".to_owned(), share: 0.0003 },
            "less than 0.1 % of the units have no row of spend and count as 0 (absent=zero). If a \
             missing row means that the value is unknown, as with ratings, write \
             spend=mean:absent=missing",
        ),
        (rows(1, RowProblem::Unmatched), "1 outcome row has no match in the logs"),
        (rows(3, RowProblem::Repeated), "3 outcome rows repeat an earlier row and were skipped"),
        (rows(4, RowProblem::Shared), "4 outcome rows match several requests and count for each"),
        (
            rows(5, RowProblem::Early),
            "5 outcome rows are from before the unit's first request and were skipped",
        ),
    ];
    for (note, text) in cases {
        assert_eq!(Reason::from(note).to_string(), text);
    }
    let adaptive = Note::Adaptive { steps: 3 }.to_string();
    assert!(adaptive.starts_with("adaptive: a bandit set the weights in 3 steps"), "{adaptive}");
    let wandering = Note::Wandering { phases: 9 }.to_string();
    for note in [adaptive, wandering] {
        assert!(note.contains("fixed test is not valid") && note.contains("every look"), "{note}");
    }
    let moved = Note::MovedUnits { units: 8, untimed: true }.to_string();
    assert!(moved.ends_with("first variant, which hides a part of any effect"), "{moved}");
    let requests = Note::IndependentRequests.to_string();
    assert!(requests.contains("assumes independent requests"), "{requests}");
}

#[test]
fn an_effect_without_a_number_is_undefined() {
    let effect = Effect { difference: None, interval: None, scale: Scale::Plain };
    assert_eq!(effect.to_string(), "undefined");
    assert_eq!(Effect { difference: Some(-2.5), ..effect }.to_string(), "-2.50");
}
