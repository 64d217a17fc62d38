//! How many units an experiment takes.

use super::*;

#[test]
fn a_size_says_what_it_is_for() {
    let rate = ["size", "--baseline-rate", "0.10", "--mde", "0.02"];
    snapshot("size_rate", seen(&rate));
    snapshot(
        "size_uneven",
        seen(&[&rate[..], &["--share", "0.1", "--daily-units", "900"]].concat()),
    );
    snapshot(
        "size_mean",
        seen(&["size", "--baseline-mean", "100", "--sd", "20", "--mde", "2", "--relative"]),
    );
}

#[test]
fn sizes_for_machines() {
    let size = |more: &[&str]| json(&[&["size", "--json"], more].concat(), b"");
    let rate = size(&["--baseline-rate", "0.10", "--mde", "0.02"]);
    assert_eq!((rate["per_variant"].as_u64(), rate["total"].as_u64()), (Some(3891), Some(7782)));
    assert_eq!(
        (&rate["days"], rate["formula"].as_str()),
        (&serde_json::Value::Null, Some("score"))
    );
    let cohen = size(&[
        "--baseline-rate",
        "0.10",
        "--mde",
        "20",
        "--relative",
        "--formula",
        "cohen",
        "--daily-units",
        "1000",
    ]);
    assert_eq!(
        (cohen["per_variant"].as_u64(), cohen["formula"].as_str()),
        (Some(3835), Some("cohen_h"))
    );
    assert_eq!(
        (cohen["days"].as_u64(), cohen["days_in_whole_weeks"].as_u64()),
        (Some(8), Some(14))
    );
    let uneven = size(&["--baseline-rate", "0.10", "--mde", "0.02", "--share", "0.1"]);
    assert_eq!(
        (uneven["baseline"].as_u64(), uneven["candidate"].as_u64()),
        (Some(19_266), Some(2141))
    );
    let mean = size(&["--baseline-mean", "100", "--sd", "20", "--mde", "-2"]);
    assert_eq!(
        (mean["per_variant"].as_u64(), mean["formula"].as_str()),
        (Some(1571), Some("welch_t"))
    );
    let sure =
        size(&["--baseline-rate", "0.10", "--mde", "0.02", "--power", "0.9", "--alpha", "0.01"]);
    assert!(sure["per_variant"].as_u64() > rate["per_variant"].as_u64());
}

#[test]
fn mistakes_name_their_flag() {
    let fails = |arguments: &[&str], exit: i32, words: &[&str]| {
        let output = run(&[&["size"], arguments].concat(), b"");
        assert_eq!(code(&output), exit, "{output:?}");
        assert!(output.stdout.is_empty());
        words.iter().for_each(|word| {
            assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output))
        });
    };
    fails(&["--baseline-rate", "10", "--mde", "0.02"], 1, &["--baseline-rate", "0.05"]);
    fails(&["--baseline-rate", "NaN", "--mde", "0.02"], 1, &["--baseline-rate", "NaN"]);
    fails(&["--baseline-rate", "0.99", "--mde", "0.02"], 1, &["--mde is 0.02", "absolute"]);
    fails(&["--baseline-rate", "0.1", "--mde", "0"], 1, &["--mde", "other than 0"]);
    fails(&["--baseline-rate", "0.1", "--mde", "0.01", "--share", "30"], 1, &["--share", "30"]);
    fails(&["--baseline-rate", "0.1", "--mde", "0.01", "--power", "1"], 1, &["--power"]);
    fails(&["--baseline-rate", "0.1", "--mde", "0.01", "--alpha", "-1"], 1, &["--alpha"]);
    fails(
        &["--baseline-rate", "0.1", "--mde", "0.01", "--daily-units", "0"],
        2,
        &["--daily-units"],
    );
    fails(&["--baseline-mean", "100", "--sd", "0", "--mde", "1"], 1, &["--sd", "positive"]);
    fails(&["--baseline-mean", "100", "--sd", "-3", "--mde", "1"], 1, &["--sd"]);
    fails(&["--baseline-mean", "100", "--mde", "1"], 2, &["--sd"]);
    fails(&["--baseline-mean", "1", "--sd", "1", "--mde", "1e-12"], 1, &["--mde", "10^15"]);
    fails(&["--mde", "1"], 2, &["--baseline-rate"]);
}
