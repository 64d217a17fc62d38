use super::*;
use crate::source::outcomes::NoMetric;

fn request(text: &str) -> MetricRequest {
    text.parse().unwrap()
}

fn selected(
    columns: &[&str],
    by_request: bool,
    primary: &[&str],
    guardrail: &[&str],
) -> Result<String, String> {
    let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let binary = vec![false; columns.len()];
    let available = Available {
        columns: &columns,
        by_request,
        binary: &binary,
        ignored: &[],
        caps: &[],
        modeled: 0,
        logged: &[],
        covariates: &[],
    };
    let read = |list: &[&str]| list.iter().map(|text| request(text)).collect::<Vec<_>>();
    let requests = MetricRequests {
        primary: read(primary),
        guardrail: read(guardrail),
        exploratory: Vec::new(),
    };
    let metrics = available.select(&requests).map_err(|error| error.to_string())?;
    let words = |metric: &Metric| {
        let kind = metric.measure.kind().as_str();
        format!("{} {kind} {}", metric.role.as_str(), metric.name)
    };
    Ok(metrics.iter().take(4).map(words).collect::<Vec<_>>().join(", "))
}

#[test]
fn requests_are_parsed() {
    let read = request("latency_p95:decrease:20ms");
    assert_eq!((read.goal, read.margin), (Some(Goal::Decrease), Some(Margin::Absolute(0.02))));
    assert_eq!(request("a:0.5pt").margin, Some(Margin::Points(0.005)));
    assert_eq!(request("a:5%").margin, Some(Margin::Relative(0.05)));
    assert_eq!(request("a=mean").kind, Some(Kind::Mean));
    for bad in ["", "=mean", "a=median", "a:up", "a:-5ms", "a:1e999"] {
        assert!(bad.parse::<MetricRequest>().is_err(), "{bad}");
    }
}

#[test]
fn every_analysis_has_a_primary_metric_and_guardrails() {
    assert_eq!(
        selected(&[], false, &[], &[]).unwrap(),
        "primary ratio error_rate, guardrail quantile latency_p95, guardrail ratio abort_rate, \
         exploratory ratio latency_mean"
    );
    assert_eq!(
        selected(&["revenue", "accuracy"], true, &[], &[]).unwrap(),
        "primary ratio accuracy, guardrail ratio error_rate, guardrail quantile latency_p95, guardrail ratio abort_rate"
    );
    assert_eq!(
        selected(&["revenue"], false, &["revenue"], &["latency:3ms"]).unwrap(),
        "primary mean revenue, guardrail ratio latency_mean, guardrail ratio error_rate, guardrail quantile latency_p95"
    );
    let built_in = "metrics of requests are: error_rate, ";
    let missing = selected(&[], false, &["nps"], &[]).unwrap_err();
    assert!(missing.contains(&format!("no outcome has nps; {built_in}")), "{missing}");
    let misspelled = selected(&["acuracy"], true, &["accuracy"], &[]).unwrap_err();
    let wanted = format!("no outcome has accuracy; the outcomes have: acuracy; {built_in}");
    assert!(misspelled.contains(&wanted), "{misspelled}");
    let unnamed = selected(&["label", "score"], true, &["auc"], &[]).unwrap_err();
    assert!(
        unnamed.contains("whose columns the file names, as in analysis: {model: "),
        "{unnamed}"
    );
    assert!(selected(&[], false, &["error_rate"], &["error_rate"]).unwrap_err().contains("twice"));
    assert!(selected(&[], false, &["error_rate:1pt"], &[]).unwrap_err().contains("margin"));
}

/// The metrics of an analysis with a column of 0 and 1, and one of other numbers.
fn metrics(by_request: bool, primary: &[&str], guardrail: &[&str]) -> Vec<Metric> {
    let columns = ["hit", "revenue", ACCURACY].map(str::to_owned);
    let available = Available {
        columns: &columns,
        by_request,
        binary: &[true, false, true],
        ignored: &[],
        caps: &[],
        modeled: 0,
        logged: &[],
        covariates: &[],
    };
    let read = |list: &[&str]| list.iter().map(|text| request(text)).collect::<Vec<_>>();
    let requests = MetricRequests {
        primary: read(primary),
        guardrail: read(guardrail),
        exploratory: Vec::new(),
    };
    available.select(&requests).unwrap()
}

fn find<'m>(metrics: &'m [Metric], name: &str) -> &'m Metric {
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_column_is_measured_by_what_its_rows_are_about() {
    let of = |by_request, request: &str| {
        let metrics = metrics(by_request, &[request], &[]);
        find(&metrics, request.split(['=', ':']).next().unwrap()).measure
    };
    assert_eq!([of(true, "hit"), of(true, "revenue")], [Measure::Ratio; 2]);
    assert_eq!([of(false, "hit"), of(false, "revenue")], [Measure::Proportion, Measure::Mean]);
    for by_request in [true, false] {
        assert_eq!(of(by_request, "hit=ratio"), Measure::Ratio);
        assert_eq!(of(by_request, "hit=mean"), Measure::Mean);
        assert_eq!(of(by_request, "revenue=proportion"), Measure::Proportion);
    }
}

#[test]
fn goals_units_and_margins_have_defaults() {
    let metrics = metrics(
        true,
        &["revenue:decrease", "hit=proportion"],
        &["error_rate:increase", "abort_rate", "latency_p99:30ms", "accuracy"],
    );
    let goals = ["revenue", "hit", "accuracy", "error_rate", "latency_p95"];
    use Goal::{Decrease, Increase};
    assert_eq!(
        goals.map(|name| find(&metrics, name).goal),
        [Decrease, Increase, Increase, Increase, Decrease]
    );
    let margins = ["error_rate", "abort_rate", "latency_p99", "latency_p95", "accuracy"];
    assert_eq!(
        margins.map(|name| find(&metrics, name).margin),
        [
            Some(Margin::Absolute(0.005)),
            Some(Margin::Absolute(0.005)),
            Some(Margin::Absolute(0.03)),
            Some(Margin::Relative(0.1)),
            Some(Margin::Relative(0.1)),
        ]
    );
    let others = ["revenue", "hit", "latency_mean"];
    assert!(others.iter().all(|name| find(&metrics, name).margin.is_none()));
    let shown: Vec<(&str, bool, bool)> = metrics
        .iter()
        .map(|metric| (&*metric.name, metric.is_share(), metric.unit().is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            ("revenue", false, false),
            ("hit", true, false),
            ("error_rate", true, false),
            ("abort_rate", true, false),
            ("latency_p99", false, true),
            ("accuracy", true, false),
            ("latency_p95", false, true),
            ("latency_mean", false, true),
            ("latency_p50", false, true),
        ]
    );
    let latency = find(&metrics, "latency_p95");
    assert_eq!((latency.margin(Some(-2.0)), latency.margin(None)), (Some(0.2), None));
    assert_eq!(find(&metrics, "abort_rate").margin(None), Some(0.005));
    assert_eq!(find(&metrics, "revenue").margin(Some(2.0)), None);
}

#[test]
fn a_built_in_metric_has_a_fixed_kind_and_a_column_must_not_have_its_name() {
    for bad in ["error_rate=mean", "latency=ratio", "latency_p95=mean:5%"] {
        let error = bad.parse::<MetricRequest>().unwrap_err();
        assert!(error.contains("has a fixed kind"), "{error}");
    }
    let error = "error_rate:absent=missing".parse::<MetricRequest>().unwrap_err();
    assert!(error.contains("no `absent`"), "{error}");
    let error = selected(&["nps"], false, &["np"], &[]).unwrap_err();
    assert!(error.contains("the outcomes have: nps; metrics"), "{error}");
    assert!(error.ends_with("latency_p99, abort_rate"), "{error}");
    // As a requested metric, and as a guardrail that is there by default.
    for requested in ["error_rate", "nps"] {
        let error = selected(&["error_rate", "nps"], false, &[requested], &[]).unwrap_err();
        assert!(error.contains("column error_rate has the name of a built-in"), "{error}");
    }
    for (name, share) in [("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)] {
        let metrics = metrics(true, &[name], &[]);
        assert_eq!(find(&metrics, name).measure, Measure::Quantile(share));
    }
}

#[test]
fn margins_have_units() {
    for (text, margin) in [
        ("a:20ms", Margin::Absolute(0.02)),
        ("a:2s", Margin::Absolute(2.0)),
        ("a:3", Margin::Absolute(3.0)),
        ("a:0", Margin::Absolute(0.0)),
        ("a:0%", Margin::Relative(0.0)),
        ("a:2pt", Margin::Points(0.02)),
    ] {
        assert_eq!(request(text).margin, Some(margin), "{text}");
    }
    let read = request("a=ratio:increase");
    assert_eq!(
        (read.kind, read.goal, read.margin),
        (Some(Kind::Ratio), Some(Goal::Increase), None)
    );
    assert_eq!(request("a=proportion").kind, Some(Kind::Proportion));
}

#[test]
fn no_column_is_primary_by_chance() {
    let names = ["basket", "revenue"];
    let error = selected(&names, false, &[], &[]).unwrap_err();
    assert!(
        error.contains("several columns may be the primary metric: basket, revenue"),
        "{error}"
    );
    assert!(error.contains("--metric basket"), "{error}");
    assert!(selected(&names[..1], false, &[], &[]).unwrap().starts_with("primary mean basket"));
    assert!(selected(&names, false, &["revenue"], &[]).is_ok());
    // A column that is a guardrail is none of them.
    assert!(selected(&names, false, &[], &["revenue"]).unwrap().starts_with("primary mean basket"));
    let ignored =
        [Ignored { name: "country".to_owned(), why: NoMetric::Text, example: "DE".to_owned() }];
    let available = Available {
        columns: &[],
        by_request: false,
        binary: &[],
        ignored: &ignored,
        caps: &[],
        modeled: 0,
        logged: &[],
        covariates: &[],
    };
    let error = |requests: &MetricRequests| available.select(requests).unwrap_err().to_string();
    let text = "country is text, for example \"DE\"";
    assert_eq!(error(&MetricRequests::default()), format!("no column is a metric: {text}"));
    let asked = MetricRequests { primary: vec![request("country")], ..MetricRequests::default() };
    assert_eq!(error(&asked), format!("{text}; a metric needs numbers"));
}

#[test]
fn a_unit_without_a_row_has_zero_unless_it_is_missing() {
    let of = |text: &str| {
        let metrics = metrics(false, &[text], &[]);
        find(&metrics, text.split(['=', ':']).next().unwrap()).absent
    };
    assert_eq!(of("revenue"), Absent::Zero);
    assert_eq!(of("revenue:absent=zero"), Absent::Zero);
    assert_eq!(of("hit=proportion:increase:absent=missing"), Absent::Missing);
    let error = selected(&["revenue"], false, &["revenue=ratio:absent=missing"], &[]).unwrap_err();
    assert!(error.contains("absent"), "{error}");
    assert!("revenue:absent".parse::<MetricRequest>().is_err());
}

#[test]
fn the_direction_of_a_column_is_given_where_its_name_does_not_say_it() {
    for (name, doubt) in [
        ("cost", "lower may be better"),
        ("user_age", "the user"),
        ("label", "a prediction or a label"),
    ] {
        let error = selected(&[name], false, &[], &[]).unwrap_err();
        assert!(error.contains(doubt) && error.contains(&format!("{name}:decrease")), "{error}");
        let error = selected(&[name], false, &[name], &[]).unwrap_err();
        assert!(error.contains(doubt) && error.contains(&format!("{name}:increase")), "{error}");
        assert!(selected(&[name], false, &["error_rate"], &[name]).is_err(), "as a guardrail");
        for direction in ["increase", "decrease"] {
            let request = format!("{name}:{direction}");
            assert!(selected(&[name], false, &[&request], &[]).unwrap().contains(name));
        }
    }
    // What decides nothing needs no direction.
    let columns = ["revenue", "cost"].map(str::to_owned);
    let binary = [false, false];
    let available = Available {
        columns: &columns,
        by_request: false,
        binary: &binary,
        ignored: &[],
        caps: &[],
        modeled: 0,
        logged: &[],
        covariates: &[],
    };
    let requests =
        MetricRequests { primary: vec![request("revenue")], ..MetricRequests::default() };
    let metrics = available.select(&requests).unwrap();
    let goals = ["revenue", "cost"].map(|name| find(&metrics, name).goal);
    assert_eq!(goals, [Goal::Increase, Goal::Decrease]);
    // The hint names a column whose direction is clear.
    let error = selected(&["cost", "revenue"], false, &[], &[]).unwrap_err();
    assert!(error.ends_with("--metric revenue"), "{error}");
    let error = selected(&["cost", "errors"], false, &[], &[]).unwrap_err();
    assert!(error.ends_with("--metric cost:decrease"), "{error}");
}

#[test]
fn accuracy_is_per_prediction_by_unit_as_well() {
    let of = |request: &str| find(&metrics(false, &[request], &[]), ACCURACY).measure;
    assert_eq!(of("accuracy"), Measure::Ratio);
    assert_eq!(of("accuracy=proportion"), Measure::Proportion);
}
