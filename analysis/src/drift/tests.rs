use std::fmt::Write as _;

use sidetrack_stats::dice::Dice;

use super::*;
use crate::source::Logs;

const FILE: &str = r#"{"experiments": [{"name": "e", "salt": "s", "unit": [{"header": "u"}],
    "baseline": "old", "variants": [{"name": "old"}, {"name": "new", "weight": 50}]}]}"#;

fn experiment() -> Experiment {
    sidetrack::config::parse_json(FILE.as_bytes()).unwrap().experiments.into_iter().next().unwrap()
}

fn settings() -> DriftSettings {
    DriftSettings {
        alpha: Fraction::new(0.05).unwrap(),
        threshold: 0.1,
        columns: Vec::new(),
        by: None,
        reference_until: None,
    }
}

fn cells(text: &str) -> Cells {
    let mut cells = Cells::default();
    cells.read_bytes(text.as_bytes().to_vec(), "t").unwrap();
    cells
}

/// Rows of 400 users, three each. The second variant's scores are higher by `shift`, and its labels have another mix then.
fn rows(seed: u64, variants: [&str; 2], shift: f64) -> String {
    let mut dice = Dice::new(seed);
    let mut text = "unit,assigned,score,label,time\n".to_owned();
    for user in 0..400 {
        let second = user % 2 == 1;
        let own = dice.normal();
        let shift = if second { shift } else { 0.0 };
        let variant = variants[usize::from(second)];
        for day in 1..4 {
            let score = own + 0.3 * dice.normal() + shift;
            let label = if dice.happens(0.3 + 0.3 * shift) { "cat" } else { "dog" };
            writeln!(text, "{seed}-{user},{variant},{score},{label},2026-11-0{day}T00:00:00Z")
                .unwrap();
        }
    }
    text
}

fn run(
    values: &Cells,
    reference: Option<&Cells>,
    settings: &DriftSettings,
) -> Result<Drift, Error> {
    let experiment = experiment();
    let input = DriftInput { experiment: &experiment, values, reference, exposures: None };
    drift(input, settings)
}

fn of<'a>(found: &'a Drift, column: &str, against: Against, variant: &str) -> &'a Compared {
    let is =
        |one: &&Compared| one.column == column && one.against == against && one.variant == variant;
    found.compared.iter().find(is).unwrap_or_else(|| panic!("{column} {variant}: {found:#?}"))
}

#[test]
fn variants_that_differ_are_found() {
    let found = run(&cells(&rows(1, ["old", "new"], 1.0)), None, &settings()).unwrap();
    assert!(found.by_unit && found.rows == 1200, "{found:?}");
    let score = of(&found, "score", Against::Baseline, "new");
    assert_eq!((score.state, score.kind, score.bins.len()), (DriftState::Drift, Kind::Number, 10));
    assert!(score.kolmogorov_smirnov.unwrap() > score.kolmogorov_smirnov_exceeded.unwrap());
    // Three rows of a user resemble each other: nearly three times the variance.
    assert!((2.0..3.5).contains(&score.design_effect.unwrap()), "{score:?}");
    assert!((score.second.mean.unwrap() - score.first.mean.unwrap() - 1.0).abs() < 0.3);
    assert_eq!((score.first.rows, score.first.units), (600, 200));
    assert!(score.bins.iter().all(|bin| (bin.first - 0.1).abs() < 1e-9), "{:?}", score.bins);
    let label = of(&found, "label", Against::Baseline, "new");
    assert_eq!((label.state, label.kind), (DriftState::Drift, Kind::Category));
    assert_eq!(label.kolmogorov_smirnov, None);
    assert_eq!(found.state(), DriftState::Drift);
    // Two comparisons: the smaller p-value is doubled.
    let one = if score.p_value < label.p_value { score } else { label };
    let (p, adjusted) = (one.p_value.unwrap(), one.p_adjusted.unwrap());
    assert!((adjusted / p - 2.0).abs() < 1e-9, "{p} {adjusted}");
}

#[test]
fn chance_is_not_drift() {
    let mut alarms = 0;
    for seed in 0..40 {
        let found = run(&cells(&rows(seed, ["old", "new"], 0.0)), None, &settings()).unwrap();
        alarms += u32::from(found.state() == DriftState::Drift);
        let score = of(&found, "score", Against::Baseline, "new");
        // Of as many independent rows, it would be 9 (1/600 + 1/600).
        let by_chance = score.psi_by_chance.unwrap() / 0.03;
        assert!((1.3..2.5).contains(&by_chance), "{score:?}");
    }
    // One of twenty is expected, and six or more have a probability below 1.5 %.
    assert!(alarms < 6, "{alarms} of 40");
}

#[test]
fn a_reference_is_a_file_or_a_time() {
    let before = cells(&rows(2, ["x", "x"], 0.0));
    let now = cells(&rows(3, ["old", "new"], 1.0));
    let found = run(&now, Some(&before), &settings()).unwrap_err().to_string();
    // The reference names other variants, so all its rows belong to none of these.
    assert!(found.contains("there is nothing to compare"), "{found}");
    let before = cells(&rows(2, ["x", "x"], 0.0).replace("assigned", "other"));
    let found = run(&now, Some(&before), &settings()).unwrap();
    assert_eq!(of(&found, "score", Against::Reference, "new").state, DriftState::Drift);
    let old = of(&found, "score", Against::Reference, "old");
    assert_ne!(old.state, DriftState::Drift, "{old:?}");
    assert_eq!((old.first.rows, old.second.rows), (1200, 600));
    let until =
        DriftSettings { reference_until: Some("2026-11-02".parse().unwrap()), ..settings() };
    let found = run(&now, None, &until).unwrap();
    let new = of(&found, "score", Against::Reference, "new");
    assert_eq!((new.first.rows, new.second.rows), (200, 400));
    assert_eq!((new.first.units, new.second.units), (200, 200));
    // The same users in both windows: they vary less than others would.
    assert!(new.design_effect.unwrap() < 1.5, "{new:?}");
}

#[test]
fn the_exposures_know_the_variant() {
    let experiment = experiment();
    let trial = sidetrack::exposure::trial(&experiment);
    let folder = tempfile::tempdir().unwrap();
    let (mut log, mut values) = (String::new(), "request_id,score\n".to_owned());
    for user in 0..200 {
        let bucket = experiment.arm.bucket(format!("u{user}").as_bytes()).get();
        let new = bucket < 500_000;
        let assigned = if new { "new" } else { "old" };
        let reason = if user == 0 { "override" } else { "hash" };
        for request in 0..2 {
            writeln!(
                log,
                r#"{{"time":"2026-11-23T09:00:00.000Z","request_id":"r{user}-{request}","experiment":"e","assigned":"{assigned}","served":"{assigned}","status":200,"duration":{},"exposure":"trial={trial} weights=new=500000/500000 reason={reason} bucket={bucket} unit=u{user}"}}"#,
                if new { 20 + user % 7 } else { user % 7 },
            )
            .unwrap();
            writeln!(
                values,
                "r{user}-{request},{}",
                f64::from(user % 10) + if new { 9.0 } else { 0.0 }
            )
            .unwrap();
        }
    }
    let path = folder.path().join("access.log");
    std::fs::write(&path, log).unwrap();
    let logs = Logs::new(&[path]).unwrap();
    let fields = ["duration".to_owned()];
    let exposures = Exposures::read(&logs, &experiment, None, &fields).unwrap();
    assert_eq!((exposures.used, exposures.others, exposures.fields.len()), (398, 2, 398));
    let values = cells(&values);
    let input = DriftInput {
        experiment: &experiment,
        values: &values,
        reference: None,
        exposures: Some(&exposures),
    };
    let found = drift(input, &settings()).unwrap();
    assert_eq!((found.rows, found.unmatched, found.by_unit), (398, 2, true));
    let score = of(&found, "score", Against::Baseline, "new");
    assert_eq!(score.state, DriftState::Drift);
    assert_eq!(score.first.rows + score.second.rows, 398);
    assert_eq!(2 * score.first.units, score.first.rows);
}

/// Rows of 300 users, one each, with these scores of both variants.
fn scores(of: impl Fn(u64, bool) -> String) -> Cells {
    let mut text = "unit,assigned,score,other\n".to_owned();
    for user in 0..300 {
        let second = user % 2 == 1;
        let name = if second { "new" } else { "old" };
        writeln!(text, "u{user},{name},{},{user}", of(user, second)).unwrap();
    }
    cells(&text)
}

#[test]
fn a_constant_that_becomes_another_is_drift() {
    for (old, new) in [("1.5", "2.5"), ("1.5", "0.5"), ("0", "-1")] {
        let found = scores(|_, second| if second { new } else { old }.to_owned());
        let found = run(&found, None, &settings()).unwrap();
        let score = of(&found, "score", Against::Baseline, "new");
        assert_eq!(score.state, DriftState::Drift, "{old} {new}: {score:?}");
        assert!(score.p_value.unwrap() < 1e-30 && score.psi.unwrap() > 1.0);
    }
    // Three units of each may be so by chance.
    let few = "unit,assigned,score\na,old,1\nb,old,1\nc,old,1\nd,new,2\ne,new,2\nf,new,2\n";
    let few = run(&cells(few), None, &settings()).unwrap();
    assert_eq!(few.compared[0].state, DriftState::Unclear, "{few:?}");
    // Half of the values are one number, and the others now are below it instead of above.
    let tied = scores(|user, second| match (user / 2 % 2, second) {
        (0, _) => "0".to_owned(),
        (_, false) => format!("0.{user}"),
        (_, true) => format!("-0.{user}"),
    });
    let tied = run(&tied, None, &settings()).unwrap();
    let score = of(&tied, "score", Against::Baseline, "new");
    assert_eq!(score.state, DriftState::Drift, "{score:?}");
    let labels: Vec<&str> = score.bins.iter().map(|bin| bin.label.as_str()).collect();
    assert_eq!(labels[..2], ["< 0", "= 0"], "{labels:?}");
}

#[test]
fn the_same_constant_is_stable_and_too_few_units_are_not() {
    let same = run(&scores(|_, _| "1.5".to_owned()), None, &settings()).unwrap();
    let score = of(&same, "score", Against::Baseline, "new");
    assert_eq!((score.state, score.psi), (DriftState::Stable, Some(0.0)), "{score:?}");
    let alone = "unit,assigned,score\na,old,1\nb,new,2\n";
    let alone = run(&cells(alone), None, &settings()).unwrap();
    assert_eq!(alone.compared[0].state, DriftState::Undefined);
    assert_eq!(alone.state(), DriftState::Unclear, "nothing is known");
}

#[test]
fn values_that_are_missing_are_drift() {
    let score = |second: bool, user: u64, every: u64| {
        let lost = second && (user / 2).is_multiple_of(every);
        if lost { String::new() } else { (user * 37 % 101).to_string() }
    };
    // All values of the second variant, and half of them.
    for every in [1, 2] {
        let found = scores(|user, second| score(second, user, every));
        let found = run(&found, None, &settings()).unwrap();
        let missing = of(&found, "score (missing)", Against::Baseline, "new");
        assert_eq!((missing.state, missing.kind), (DriftState::Drift, Kind::Category));
        assert_eq!(missing.second.missing, if every == 1 { 150 } else { 75 });
        assert_eq!(missing.bins[1].label, "missing");
        let known = found.compared.iter().any(|one| one.column == "score");
        assert_eq!(known, every == 2);
    }
    let none = run(&scores(|user, _| user.to_string()), None, &settings()).unwrap();
    assert!(none.compared.iter().all(|one| !one.column.contains("missing")), "{none:?}");
}

#[test]
fn a_reference_that_is_compared_with_nothing_is_a_mistake() {
    let now = cells(&rows(3, ["old", "new"], 0.0));
    let other = cells("unit,other\na,1\nb,2\n");
    let error = run(&now, Some(&other), &settings()).unwrap_err().to_string();
    assert!(error.contains("the reference has no values of a column"), "{error}");
    let early =
        DriftSettings { reference_until: Some("2026-10-01".parse().unwrap()), ..settings() };
    let error = run(&now, None, &early).unwrap_err().to_string();
    assert!(error.contains("from before 2026-10-01T00:00:00Z"), "{error}");
}

#[test]
fn mistakes_are_named() {
    let error = |text: &str, change: &dyn Fn(&mut DriftSettings)| {
        let mut settings = settings();
        change(&mut settings);
        run(&cells(text), None, &settings).unwrap_err().to_string()
    };
    let alone = error("unit,score\na,1\nb,2\n", &|_| {});
    assert!(alone.contains("nothing to compare"), "{alone}");
    let column = error("unit,score\na,1\n", &|to| to.columns = vec!["scor".to_owned()]);
    assert!(column.contains("unknown column \"scor\"; expected one of: score"), "{column}");
    let by = error("unit,score\na,1\n", &|to| to.by = Some("v".to_owned()));
    assert!(by.contains("--by: no column \"v\""), "{by}");
    let time = error("unit,score\na,1\n", &|to| {
        to.reference_until = Some("2026-11-02".parse().unwrap());
    });
    assert!(time.contains("no column time"), "{time}");
}
