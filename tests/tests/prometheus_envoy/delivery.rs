//! The queries for Argo Rollouts and Flagger have values, and these are what the traffic generator counted.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{Answered, CANDIDATE, JOB, Stand};

/// Both renderings, each query with the window that contains the whole run.
pub(crate) async fn measures(stand: &Stand, answers: &[Answered]) -> Result<()> {
    let common = ["--job", JOB, "--min-requests", "20", "--candidate", CANDIDATE];
    let rollouts =
        render(stand, &["render", "argo-rollouts"], &[&common[..], &["--window", "5m"]].concat())?;
    let flagger = render(stand, &["render", "flagger"], &common)?;
    let mut measured = 0;
    for template in &rollouts {
        for metric in template["spec"]["metrics"].as_array().context("metrics")? {
            let query = metric["provider"]["prometheus"]["query"].as_str().context("a query")?;
            let value = stand
                .prometheus
                .value(query)
                .await?
                .with_context(|| format!("no value: {query}"))?;
            let experiment = template["metadata"]["annotations"]["sidetrack/experiment"]
                .as_str()
                .context("its name")?;
            let name = metric["name"].as_str().context("a name")?;
            ensure!(value.is_finite(), "{experiment} {name}: {value}\n{query}");
            expected(experiment, name, value, answers)?;
            // Flagger has the same query, with its own window.
            let twin = flagger.iter().filter_map(|object| object["spec"]["query"].as_str());
            let twin =
                twin.map(|twin| twin.replace("{{ interval }}", "5m")).any(|twin| twin == query);
            ensure!(twin, "Flagger has another query than {query}");
            measured += 1;
        }
    }
    // errors, latency, slow, breaker and share of the first experiment; all but slow of the second.
    ensure!(measured == 9, "{measured} metrics");
    // With more requests than there were, a comparison has no value.
    let few = render(
        stand,
        &["render", "argo-rollouts"],
        &[&common[..2], &["--min-requests", "1000000"]].concat(),
    )?;
    let query = few[0]["spec"]["metrics"][0]["provider"]["prometheus"]["query"]
        .as_str()
        .context("a query")?;
    ensure!(
        stand.prometheus.value(query).await?.is_none(),
        "a value from too few requests: {query}"
    );
    Ok(())
}

fn render(stand: &Stand, command: &[&str], options: &[&str]) -> Result<Vec<Value>> {
    let file = stand.file();
    let text = sidetrack_command(&[command, &[file.as_str()], options].concat())?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The value, against the same of what was counted.
fn expected(experiment: &str, name: &str, value: f64, answers: &[Answered]) -> Result<()> {
    let of = |holds: &dyn Fn(&Answered) -> bool| {
        let all = answers.iter().filter(|a| {
            a.experiment == experiment && a.reason != "override" && !a.variant.is_empty()
        });
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let number = all.filter(|answer| holds(answer)).count() as f64;
        number
    };
    let is_candidate = |answer: &Answered| answer.variant == CANDIDATE;
    let errors = |of_candidate: bool| {
        of(&|a| is_candidate(a) == of_candidate && a.status >= 500)
            / of(&|a| is_candidate(a) == of_candidate)
    };
    let (wanted, within) = match (name, experiment) {
        ("errors", _) => (errors(true) - errors(false), 0.005),
        // It was open, and has closed.
        ("breaker", "forecast") => (2.0, 0.0),
        // Requests without a unit count for the baseline, and the weight changed within the window.
        ("share", "ranking") => (of(&|a| a.assigned == CANDIDATE) / of(&|_| true) - 0.4, 0.01),
        _ => return Ok(()),
    };
    ensure!((value - wanted).abs() <= within, "{experiment} {name} is {value}, counted {wanted}");
    Ok(())
}
