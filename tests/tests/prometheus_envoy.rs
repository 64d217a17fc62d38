//! A real Prometheus scrapes a real Envoy: its series equal the counts of the traffic generator, no
//! rule and no query of the dashboard is empty, and the dashboard's picture is drawn from the
//! results.
//!
//! One run of about a minute: a rollout in three short phases, a second experiment whose breaker
//! runs dry, a mirror, testers, callers without a unit, slow answers, scattered errors, and an
//! outage with its recovery.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

#[path = "prometheus_envoy/dashboard.rs"]
mod dashboard;
#[path = "prometheus_envoy/delivery.rs"]
mod delivery;
#[path = "prometheus_envoy/missing.rs"]
mod missing;
#[path = "prometheus_envoy/picture.rs"]
mod picture;
#[path = "prometheus_envoy/stand.rs"]
mod stand;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sidetrack_lab::Behavior;
use tokio::time::sleep;

use dashboard::Dashboard;
use stand::{Answered, CANDIDATE, JOB, Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_says_what_the_traffic_generator_counted() -> Result<()> {
    let stand = Stand::start().await?;
    play(&stand).await?;
    let answers = stand.finish().await?;
    let told = async {
        counts(&stand, &answers).await?;
        shares(&stand, &answers).await?;
        rules(&stand).await?;
        delivery::measures(&stand, &answers).await?;
        alerts(&stand).await
    };
    if let Err(error) = told.await {
        panic!(
            "{error:?}\n--- Prometheus\n{}\n--- Envoy\n{}",
            stand.prometheus.log(),
            stand.envoy.report().await
        );
    }
    let dashboard = Dashboard::asked(&stand).await?;
    dashboard.is_nowhere_empty()?;
    picture::draw(&dashboard).await
}

/// What happens to the models while the load runs.
async fn play(stand: &Stand) -> Result<()> {
    stand.phase_begins("canary").await?;
    stand.baseline.set(Behavior::Delay(Duration::from_millis(30)));
    stand.candidate.set(Behavior::ErrorEvery(25));
    sleep(Duration::from_secs(5)).await;
    stand.baseline.set(Behavior::Delay(Duration::from_millis(250)));
    sleep(Duration::from_secs(1)).await;
    stand.baseline.set(Behavior::Delay(Duration::from_millis(30)));
    stand.phase_begins("early").await?;
    stand.candidate.set(Behavior::Delay(Duration::from_millis(15)));
    stand.phase_begins("production").await?;
    sleep(Duration::from_secs(5)).await;
    stand.candidate.set(Behavior::Status(503));
    until("the breaker is open", async || Ok(stand.breaker().await? == 2.0)).await?;
    sleep(Duration::from_secs(2)).await;
    stand.candidate.set(Behavior::Delay(Duration::from_millis(15)));
    until("the breaker is closed", async || Ok(stand.breaker().await? == 0.0)).await?;
    sleep(Duration::from_secs(6)).await;
    Ok(())
}

/// Each counter, to the request.
async fn counts(stand: &Stand, answers: &[Answered]) -> Result<()> {
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |series: String| *counted.entry(series).or_default() += 1;
    for answer in answers {
        let experiment = format!("job=\"{JOB}\",experiment=\"{}\"", answer.experiment);
        let overridden = answer.reason == "override";
        if !answer.variant.is_empty() && !overridden {
            let status = if answer.status >= 500 { "error" } else { "success" };
            let labels = format!(
                "model_name=\"{}\",phase=\"{}\",status=\"{status}\"",
                answer.variant, answer.phase
            );
            count(format!("ab_test_requests_total{{{experiment},{labels}}}"));
            let model = format!("model_name=\"{}\"", answer.variant);
            count(format!("ab_test_response_time_seconds_count{{{experiment},{model}}}"));
        }
        if overridden {
            count(format!("ab_test_overrides_total{{{experiment}}}"));
        }
        if answer.reason == "breaker_open" {
            count(format!(
                "ab_test_fallbacks_total{{{experiment},model_name=\"{}\"}}",
                answer.assigned
            ));
        }
        if !answer.has_unit {
            // By reason.
            count(format!("sum(ab_test_missing_unit_total{{{experiment}}})"));
        }
        if answer.variant.is_empty() {
            let route = format!("envoy_route=\"sidetrack-bypass:{}\"", answer.experiment);
            count(format!("envoy_vhost_route_upstream_rq_total{{job=\"{JOB}\",{route}}}"));
        }
    }
    for _ in 0..stand.mirror.count() {
        count(format!("ab_test_mirrored_total{{job=\"{JOB}\",experiment=\"forecast\"}}"));
    }
    // Both models in each of three phases, errors, the dry run, and the rest: nothing may have gone
    // uncounted.
    ensure!(counted.len() >= 16, "the traffic had too little in it: {counted:#?}");
    for (series, number) in counted {
        let found = stand.prometheus.value(&series).await?;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let expected = number as f64;
        ensure!(
            found == Some(expected),
            "{series}: the generator counted {expected}, Prometheus says {found:?}"
        );
    }
    Ok(())
}

/// The recorded shares, against the same shares of what was counted.
async fn shares(stand: &Stand, answers: &[Answered]) -> Result<()> {
    let of = |holds: &dyn Fn(&Answered) -> bool| {
        let all = answers.iter().filter(|a| a.experiment == "forecast" && a.reason != "override");
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let number = all.filter(|answer| holds(answer)).count() as f64;
        number
    };
    let of_candidate = |answer: &Answered| answer.variant == CANDIDATE;
    let drawn = of(&|answer| answer.has_unit);
    for (record, expected) in [
        ("ab_test:requests:share5m", of(&of_candidate) / of(&|_| true)),
        ("ab_test:errors:ratio5m", of(&|a| of_candidate(a) && a.status >= 500) / of(&of_candidate)),
        ("ab_test:assigned:share30m", of(&|a| a.assigned == CANDIDATE) / drawn),
    ] {
        let expr =
            format!("{record}{{job=\"{JOB}\",experiment=\"forecast\",model_name=\"{CANDIDATE}\"}}");
        let found = stand.prometheus.value(&expr).await?.context(expr.clone())?;
        ensure!((found - expected).abs() < 0.001, "{expr}: counted {expected}, recorded {found}");
    }
    // The baseline took 30 ms but for one second; that is between two bounds of the histogram, 20
    // and 50 ms.
    let p50 = format!(
        "ab_test:response_time_seconds:p50_5m{{experiment=\"forecast\",model_name!=\"{CANDIDATE}\"}}"
    );
    let found = stand.prometheus.value(&p50).await?.context(p50)?;
    ensure!((0.02..=0.1).contains(&found), "half of the baseline's answers within {found} s");
    let slow = of(&|a| !of_candidate(a) && a.seconds > 0.2) / of(&|a| !of_candidate(a));
    let expr =
        format!("ab_test:slow:ratio5m{{experiment=\"forecast\",model_name!=\"{CANDIDATE}\"}}");
    let found = stand.prometheus.value(&expr).await?.context(expr)?;
    // The generator's clock also has the way there and back, on a machine that may be busy.
    ensure!(
        found > 0.0 && found <= slow + 0.001,
        "the generator saw {slow} slow answers, recorded is {found}"
    );
    Ok(())
}

/// Every rule is healthy, and every recording rule has recorded something.
async fn rules(stand: &Stand) -> Result<()> {
    let rules = stand.prometheus.api("/api/v1/rules", &[]).await?;
    let groups = rules["groups"].as_array().context("groups")?;
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    ensure!(rules.len() > 40, "only {} rules", rules.len());
    for rule in rules {
        ensure!(rule["health"] == "ok", "{rule:#}");
        if rule["type"] == "recording" {
            let name = rule["name"].as_str().context("a name")?;
            let labels = rule["labels"].as_object().context("labels")?;
            let labels: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let expr = format!("{name}{{{}}}", labels.join(","));
            ensure!(
                stand.has_numbers(&stand.over_time(&expr).await?),
                "{expr} recorded nothing: {rule:#}"
            );
        }
    }
    Ok(())
}

/// What had reason to fire fired, and nothing else did.
async fn alerts(stand: &Stand) -> Result<()> {
    let mut fired: Vec<(String, String)> = Vec::new();
    for series in stand.over_time("ALERTS{alertstate=\"firing\"}").await? {
        let label = |name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
        fired.push((label("alertname"), label("experiment")));
    }
    fired.sort();
    let expected = [("SidetrackBreakerOpen", "forecast"), ("SidetrackBreakerWouldTrip", "ranking")];
    let expected: Vec<_> = expected.map(|(alert, of)| (alert.to_owned(), of.to_owned())).into();
    ensure!(fired == expected, "{fired:?} fired");
    Ok(())
}
