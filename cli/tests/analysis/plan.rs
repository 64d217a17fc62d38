//! The analysis plan of the file: followed, and everything else is marked.

use serde_json::Value;

use crate::Folder;
use crate::crowd::START;
use crate::life::{DAY, Force, Life, planned};

const PLAN: &str = r#"{"metrics": ["accuracy"], "guardrails": ["latency_p95:100ms", "error_rate:20pt"],
    "planned_units": 4000}"#;

/// A log under these plans, one after another, and the last file.
fn folder(plans: &[&str]) -> Folder {
    let files: Vec<Force> = plans.iter().map(|plan| Force::new(&planned(plan))).collect();
    let mut life = Life::new(9);
    for place in 0..plans.len() {
        let begin = START + DAY * place as u64;
        let right = |variant: &str, _| if variant == "fancy" { 0.8 } else { 0.6 };
        let users = place as u64 * 4000..(place as u64 + 1) * 4000;
        life.users(users, begin..begin + DAY, |_| place, &files, right);
    }
    let folder = Folder::new();
    folder.write("experiment.json", planned(plans.last().unwrap()));
    folder.write("access.log", &life.log);
    folder.write("outcomes.csv", &life.outcomes);
    folder
}

fn analyzed(folder: &Folder, more: &[&str]) -> Value {
    folder.analysis(&[&["--outcomes", "outcomes.csv"], more].concat())
}

fn exploratory(found: &Value) -> Vec<&str> {
    let list = found["plan"]["exploratory"].as_array().unwrap();
    list.iter().map(|why| why.as_str().unwrap()).collect()
}

#[test]
fn a_plan_is_followed_without_options() {
    let folder = folder(&[PLAN]);
    let found = analyzed(&folder, &[]);
    assert_eq!((&found["decision"], &found["test"]), (&"promote".into(), &"fixed".into()));
    assert_eq!((exploratory(&found), &found["planned_units"]), (vec![], &4000.into()));
    let roles: Vec<_> = found["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| {
            (
                metric["name"].as_str().unwrap(),
                metric["role"].as_str().unwrap(),
                metric["margin"].as_f64(),
            )
        })
        .take(3)
        .collect();
    assert_eq!(
        roles,
        [
            ("accuracy", "primary", None),
            ("latency_p95", "guardrail", Some(0.1)),
            ("error_rate", "guardrail", Some(0.2)),
        ]
    );
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let digest = found["plan"]["digest"].as_str().unwrap();
    assert!(log.contains(&format!(" plan={digest} ")));
    let (_, text, _) = folder.report(&["--outcomes", "outcomes.csv", "--html", "report.html"]);
    assert!(
        text.contains(&format!("as planned: the plan {digest} was in force for all requests")),
        "{text}"
    );
    assert!(!text.contains("exploratory"), "{text}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("as planned: the plan"), "{page}");
}

#[test]
fn options_beyond_the_plan_are_marked_in_every_output() {
    let folder = folder(&[PLAN]);
    // What the plan has anyway is no change.
    assert_eq!(
        exploratory(&analyzed(&folder, &["--metric", "accuracy", "--planned-units", "4000"])),
        [""; 0]
    );
    // Nor is a time that leaves nothing out.
    let all = ["--since", "2026-11-23", "--until", "2026-12-24"];
    assert_eq!(exploratory(&analyzed(&folder, &all)), [""; 0]);
    for (options, mark) in [
        (vec!["--metric", "error_rate"], "--metric error_rate is not in the plan"),
        (vec!["--metric", "accuracy:decrease"], "--metric accuracy is not in the plan"),
        (vec!["--guardrail", "latency_p95:300ms"], "--guardrail latency_p95 is not in the plan"),
        (vec!["--planned-units", "200"], "--planned-units 200 is not in the plan"),
        (vec!["--alpha", "0.2"], "--alpha 0.2 is not in the plan"),
        (vec!["--until", "2026-11-24"], "--until 2026-11-24T00:00:00Z is not in the plan"),
        (vec!["--since", "2026-11-24"], "--since 2026-11-24T00:00:00Z is not in the plan"),
        (vec!["--allow-srm"], "--allow-srm is not in the plan"),
    ] {
        assert_eq!(exploratory(&analyzed(&folder, &options)), [mark]);
    }
    let (_, text, _) = folder.report(&[
        "--outcomes",
        "outcomes.csv",
        "--html",
        "report.html",
        "--planned-units",
        "200",
    ]);
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("Promote fancy (exploratory): it is better"), "{text}");
    assert!(text.contains("exploratory: --planned-units 200 is not in the plan"), "{text}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("exploratory: --planned-units 200 is not in the plan"), "{page}");
}

#[test]
fn a_plan_may_have_metrics_of_several_files() {
    let plan = PLAN.replace(r#"["accuracy"]"#, r#"["accuracy", "revenue=mean"]"#);
    let folder = folder(&[&plan]);
    let (code, _, error) = folder.report(&["--outcomes", "outcomes.csv"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("--metric revenue: no outcome has revenue"), "{error}");
    let found = analyzed(&folder, &["--metric", "accuracy"]);
    assert_eq!(found["decision"], "promote");
    assert_eq!(exploratory(&found), ["the plan's metric revenue is not in these outcomes"]);
}

#[test]
fn a_plan_that_came_after_the_data_is_marked() {
    let changed = PLAN.replace("4000", "2000");
    for before in ["", changed.as_str()] {
        let found = analyzed(&folder(&[before, PLAN]), &[]);
        assert_eq!(
            exploratory(&found),
            [
                "4000 of 8000 requests were made before this plan was in force, under another plan or none"
            ]
        );
    }
    // Steps do not change how it is judged.
    let steps = PLAN.replace('{', r#"{"steps": [{"weight": 40}], "#);
    assert_eq!(exploratory(&analyzed(&folder(&[PLAN, &steps]), &[])), [""; 0]);
    let found = analyzed(&folder(&[PLAN, ""]), &[]);
    assert_eq!(exploratory(&found), ["the file has no plan (`analysis`)"]);
    assert_eq!(found["plan"]["digest"], Value::Null);
}

#[test]
fn check_and_analyze_refuse_a_plan_that_they_cannot_follow() {
    let folder = folder(&[PLAN]);
    let plan = r#"{"metrics": ["accuracy=median"], "covariate": 7, "guardrail": ["x"]}"#;
    folder.write("experiment.json", planned(plan));
    let (code, text, _) = folder.text(&["check", "experiment.json"]);
    assert_eq!(code, 1, "{text}");
    for wanted in [
        "error[bad-metric] experiments[0].analysis.metrics[0]",
        "error[wrong-type] experiments[0].analysis.covariate",
        "did you mean \"guardrails\"?",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let (code, _, error) = folder.report(&[]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("experiments[0].analysis.covariate"), "{error}");
}

#[test]
fn check_notes_steps_without_room() {
    let folder = Folder::new();
    let notes = |fancy: &str, more: &str| {
        let file = crate::life::file(
            "s",
            fancy,
            r#", "analysis": {"steps": [{"weight": 5}, {"weight": 30}]}"#,
        );
        folder.write(
            "experiment.json",
            file.replace("}], \"analysis\"", &format!("}}{more}], \"analysis\"")),
        );
        let (code, text, error) = folder.text(&["check", "experiment.json", "--json"]);
        assert_eq!(code, 0, "{text}{error}");
        let found: Value = serde_json::from_str(&text).unwrap();
        let notices = found["notices"].as_array().unwrap().clone();
        let paths = notices.iter().map(|notice| notice["path"].as_str().unwrap().to_owned());
        paths.filter(|path| path.contains("analysis")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(notes(r#""weight": 5"#, ""), none, "the largest step is the reserve");
    let path = "experiments[0].analysis.steps[1].weight";
    assert_eq!(notes(r#""weight": 5, "reserve": 20"#, ""), [path]);
    let second = r#", {"name": "other", "weight": 5, "reserve": 30}"#;
    assert_eq!(notes(r#""weight": 5"#, second), [path]);
    assert_eq!(notes(r#""weight": 5, "reserve": 30"#, second), none);
}
