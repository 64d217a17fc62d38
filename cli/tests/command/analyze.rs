//! What counts and means say.

use super::*;

const SHARES: [&str; 6] =
    ["analyze", "proportions", "--baseline", "200/1000", "--candidate", "250/1000"];
const MEANS: [&str; 6] =
    ["analyze", "means", "--baseline", "100,20,1000", "--candidate", "98,21,1000"];

fn more(start: &[&'static str], end: &[&'static str]) -> Vec<&'static str> {
    [start, end].concat()
}

fn near(value: &serde_json::Value, wanted: f64) {
    let got = value.as_f64().unwrap_or_else(|| panic!("{value}, wanted {wanted}"));
    assert!((got - wanted).abs() <= 1e-9 * wanted.abs(), "{got}, wanted {wanted}");
}

#[test]
fn the_verdict_comes_first() {
    snapshot("analyze_proportions", seen(&SHARES));
    snapshot("analyze_means", seen(&MEANS));
    snapshot("analyze_running", seen(&more(&MEANS, &["--planned-units", "8000"])));
    snapshot(
        "analyze_nothing_varies",
        seen(&["analyze", "proportions", "--baseline", "0/10", "--candidate", "0/20"]),
    );
    snapshot(
        "analyze_tiny_p",
        seen(&[
            "analyze",
            "proportions",
            "--baseline",
            "100000/1000000",
            "--candidate",
            "120000/1000000",
        ]),
    );
    let phases = ["analyze", "proportions", "--baseline", "50/9500", "--candidate", "4/500"];
    snapshot(
        "analyze_phases",
        seen(&more(&phases, &["--baseline", "200/7000", "--candidate", "70/3000"])),
    );
    snapshot(
        "analyze_srm",
        seen(&["analyze", "srm", "--expected", "50,50", "--observed", "821588,815482"]),
    );
    let ramp = ["analyze", "srm", "--expected", "95,5", "--observed", "9500,500"];
    snapshot(
        "analyze_srm_phases",
        seen(&more(&ramp, &["--expected", "0.7,0.3", "--observed", "7050,2950"])),
    );
}

#[test]
fn shares_for_machines() {
    let found = json(&more(&SHARES, &["--json"]), b"");
    assert_eq!(
        (found["decision"].as_str(), &found["df"]),
        (Some("better"), &serde_json::Value::Null)
    );
    // Computed with 60 digits by stats/reference/make.py's formulas.
    near(&found["statistic"], 2.650_623_785_378_246_4);
    near(&found["p_value"], 0.008_034_327_996_096_65);
    assert!(found["log10_p"].as_f64().unwrap() < -2.09);
    assert_eq!(found["ci"].as_array().map(Vec::len), Some(2));
    near(&found["diff"], 0.05);
    near(&found["relative_lift"], 0.25);
    assert!(found["relative_lift_ci"][0].as_f64().unwrap() > 0.0);
    assert!((0.7..0.8).contains(&found["power"].as_f64().unwrap()));
    let worse = json(&more(&SHARES, &["--json", "--lower-is-better"]), b"");
    assert_eq!(worse["decision"], "worse");
    let strict = json(&more(&SHARES, &["--json", "--alpha", "0.001"]), b"");
    assert_eq!(strict["decision"], "no_difference_shown");
}

#[test]
fn no_variance_is_no_nan() {
    let shares = json(
        &["analyze", "proportions", "--baseline", "0/10", "--candidate", "0/20", "--json"],
        b"",
    );
    assert_eq!(
        (shares["decision"].as_str(), shares["undefined"].as_str()),
        (Some("undefined"), Some("zero_variance"))
    );
    let means =
        json(&["analyze", "means", "--baseline", "5,0,10", "--candidate", "6,0,20", "--json"], b"");
    assert_eq!(means["decision"], "undefined");
    for key in ["p_value", "log10_p", "statistic", "ci", "power"] {
        assert!(means[key].is_null(), "{key}: {means}");
    }
    near(&means["diff"], 1.0);
    // A p-value below what a double holds.
    let tiny = [
        "analyze",
        "proportions",
        "--baseline",
        "100000/1000000",
        "--candidate",
        "120000/1000000",
        "--json",
    ];
    let tiny = json(&tiny, b"");
    near(&tiny["statistic"], 45.197_331_509_020_1);
    assert!(tiny["log10_p"].as_f64().unwrap() < -400.0, "{tiny}");
    assert_eq!(tiny["p_value"], 0.0);
}

#[test]
fn a_running_experiment_is_judged_by_what_may_be_looked_at() {
    let fixed = json(&more(&MEANS, &["--json"]), b"");
    assert_eq!(
        (fixed["decision"].as_str(), fixed["decided_by"].as_str()),
        (Some("worse"), Some("fixed"))
    );
    let running = json(&more(&MEANS, &["--json", "--planned-units", "8000"]), b"");
    assert_eq!(running["decision"], "no_difference_shown");
    assert_eq!(running["decided_by"], "always_valid");
    // All of one kind: intervals and p-value are those that decide.
    assert!(running["p_value"].as_f64() > fixed["p_value"].as_f64(), "{running}");
    for key in ["ci", "relative_lift_ci"] {
        let width = |found: &serde_json::Value| {
            found[key][1].as_f64().unwrap() - found[key][0].as_f64().unwrap()
        };
        assert!(width(&running) > 1.4 * width(&fixed), "{key}: {running}");
    }
    assert_eq!(running["ci"], running["always_valid"]["ci"]);
    assert!(running["power"].is_null() && running["detectable"].is_null(), "{running}");
    let done = json(&more(&MEANS, &["--json", "--planned-units", "2000"]), b"");
    assert_eq!(
        (done["decision"].as_str(), done["decided_by"].as_str()),
        (Some("worse"), Some("fixed"))
    );
    assert_eq!((&done["ci"], &done["p_value"]), (&fixed["ci"], &fixed["p_value"]));
    // A tenth beyond the plan, the fixed test has been looked at too often.
    let beyond = json(&more(&MEANS, &["--json", "--planned-units", "1800"]), b"");
    assert_eq!(beyond["decided_by"], "always_valid");
    assert!(beyond["notes"][0].as_str().unwrap().contains("beyond the plan"), "{beyond}");
    let within = json(&more(&MEANS, &["--json", "--planned-units", "1820"]), b"");
    assert_eq!(within["decided_by"], "fixed");
}

#[test]
fn shares_are_judged_as_analyze_run_judges_them() {
    let found = |more: &[&'static str]| {
        let one = ["analyze", "proportions", "--json", "--lower-is-better"];
        json(&[&one[..], more].concat(), b"")
    };
    // A canary with two errors where ten are expected: no test of its own variance would call it worse or better alone.
    let canary = ["--baseline", "190/9500", "--candidate", "2/500"];
    let fixed = found(&canary);
    let always = found(&more(&canary, &["--planned-units", "20000"]));
    assert!(always["p_value"].as_f64() > fixed["p_value"].as_f64(), "{fixed} {always}");
    for found in [&fixed, &always] {
        let low = found["relative_lift_ci"][0].as_f64().unwrap();
        assert!(low > -1.0, "a rate cannot fall by more than all of it: {found}");
        let excludes = found["ci"][1].as_f64().unwrap() < 0.0;
        assert_eq!(excludes, found["decision"] == "better", "test and interval agree: {found}");
    }
    let few = found(&["--baseline", "1/9500", "--candidate", "2/500"]);
    assert_eq!(
        (few["decision"].as_str(), few["undefined"].as_str()),
        (Some("undefined"), Some("few_events"))
    );
    assert!(few["power"].is_null() && few["ci"][1].as_f64().unwrap() > 0.0, "{few}");
    // A bandit's batches are never tested by a fixed test.
    let batches = ["--baseline", "50/500", "--candidate", "60/500"];
    let bandit = more(&more(&batches, &batches), &["--adaptive"]);
    for planned in [&[][..], &["--planned-units", "2000"]] {
        let found = found(&more(&bandit, planned));
        assert_eq!(found["decided_by"], "always_valid", "{found}");
        assert!(found["notes"].to_string().contains("fixed test is not valid"), "{found}");
    }
}

#[test]
fn a_mismatch_is_a_problem_of_the_input() {
    let good =
        run(&["analyze", "srm", "--expected", "70,30", "--observed", "7021,2979", "--json"], b"");
    assert_eq!(code(&good), 0);
    let found = json(
        &["analyze", "srm", "--expected", "50,50", "--observed", "821588,815482", "--json"],
        b"",
    );
    assert_eq!(found["decision"], "mismatch");
    near(&found["p_value"], 1.821_792_872_619_187_2e-6);
    // Beside a look of many, the same counts are a mismatch at another level and by another test.
    let doubtful = ["analyze", "srm", "--expected", "50,50", "--observed", "5175,4825", "--json"];
    let (once, repeated) =
        (json(&doubtful, b""), json(&[&doubtful[..], &["--repeated"]].concat(), b""));
    assert_eq!(
        (once["decision"].as_str(), repeated["decision"].as_str()),
        (Some("mismatch"), Some("ok"))
    );
    assert_eq!(repeated["decided_by"], "always_valid");
    assert!(repeated["always_valid_p_value"].as_f64() > once["p_value"].as_f64(), "{repeated}");
    let phases = ["--expected", "95,5", "--observed", "9000,1000", "--repeated"];
    let text = run(&[&doubtful[..6], &phases[..]].concat(), b"");
    assert_eq!(code(&text), 1);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("at any number of looks; a mismatch below 1 %"), "{text}");
    // A variant that should have nobody has somebody, and one that should have somebody has nobody.
    let srm = |expected, observed| {
        code(&run(&["analyze", "srm", "--expected", expected, "--observed", observed], b""))
    };
    assert_eq!(srm("50,50,0", "500,500,1"), 1);
    assert_eq!(srm("50,50,0", "500,500,0"), 0);
    assert_eq!(srm("90,10", "1000,0"), 1);
}

#[test]
fn traps_are_refused_and_mistakes_name_their_flag() {
    let fails = |arguments: &[&str], words: &[&str]| {
        let output = run(&[&["analyze"], arguments].concat(), b"");
        assert_eq!(code(&output), 1, "{output:?}");
        assert!(output.stdout.is_empty());
        words.iter().for_each(|word| {
            assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output))
        });
    };
    let shares =
        |b: &'static str, c: &'static str| ["proportions", "--baseline", b, "--candidate", c];
    fails(
        &[&shares("1/10", "2/10")[..], &["--unit", "request"]].concat(),
        &["--unit request", "not independent"],
    );
    fails(
        &["srm", "--expected", "50,50", "--observed", "1,2", "--unit", "request"],
        &["not independent"],
    );
    fails(&[&shares("1/10", "2/10")[..], &["--adaptive"]].concat(), &["--adaptive", "each batch"]);
    fails(&shares("12/10", "1/2"), &["--baseline is 12/10", "more successes than units"]);
    fails(&shares("1/10", "-3/10"), &["--candidate is -3/10", "X/N"]);
    fails(&shares("1/10", "0/0"), &["--candidate is 0/0", "at least one"]);
    fails(&shares("1/10", "0.1"), &["--candidate is 0.1", "250/1000"]);
    fails(
        &[&shares("1/10", "2/10")[..], &["--baseline", "1/10"]].concat(),
        &["--baseline is given 2 times"],
    );
    fails(&[&shares("1/10", "2/10")[..], &["--alpha", "5"]].concat(), &["--alpha is 5", "0.05"]);
    fails(
        &[&shares("1/10", "2/10")[..], &["--planned-units", "1000"]].concat(),
        &["--planned-units", "there are 20"],
    );
    let means = |b: &'static str, c: &'static str| ["means", "--baseline", b, "--candidate", c];
    fails(&means("1,2", "1,2,3"), &["--baseline is 1,2", "MEAN,SD,N"]);
    fails(&means("NaN,2,10", "1,2,3"), &["--baseline is NaN,2,10", "a mean up to"]);
    fails(&means("1,2,10", "1,-2,3"), &["--candidate is 1,-2,3", "from 0 to 1e150"]);
    fails(&means("1,2,10", "1,2,1"), &["--candidate is 1,2,1", "at least 2"]);
    let srm = |expected: &'static str, observed: &'static str| {
        ["srm", "--expected", expected, "--observed", observed]
    };
    fails(&srm("70,20", "1,2"), &["--expected is 70,20", "sum to 100"]);
    fails(&srm("100", "1"), &["--expected is 100", "at least two"]);
    fails(&srm("-10,110", "1,2"), &["--expected is -10,110"]);
    fails(&srm("70,30", "1,2,3"), &["--observed is 1,2,3", "one count for each share"]);
    fails(&srm("70,30", "0,0"), &["--observed is 0,0", "at least one"]);
    fails(&srm("70,30", "1,-2"), &["--observed is 1,-2"]);
}
