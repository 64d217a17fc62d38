//! The contents of a run: numbers as metrics, the experiment as parameters, the results as tags.
//!
//! MLflow shows metrics with the same name before the first slash in one panel.

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::Schedule;
use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::CandidateResult;

use super::note::note;
use crate::fault::Fault;
use crate::mlflow::tracking::Record;
use crate::moment;
use crate::words::{units, variant, visible};

/// The header with the version of the model, which `plan` sets.
const VERSION_HEADER: &str = "x-model-version";

pub(in crate::mlflow) fn record(
    experiment: &Experiment,
    analysis: &Analysis,
    digest: &str,
) -> anyhow::Result<Record> {
    let (from, to) = (time("from", analysis.from.as_deref())?, time("to", analysis.to.as_deref())?);
    let to = to.or(from).unwrap_or_else(moment::now);
    let from = from.unwrap_or(to);
    let short: String = digest.chars().take(8).collect();
    Ok(Record {
        name: format!("{} {to} {short}", analysis.experiment),
        from: from.get(),
        to: to.get(),
        metrics: metrics(analysis),
        params: params(experiment, analysis, from, to),
        tags: tags(analysis),
    })
}

fn time(key: &str, text: Option<&str>) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let time = Timestamp::parse(text).ok_or_else(|| {
        Fault(format!("the analysis: {key} is \"{}\", but must be in RFC 3339", visible(text)))
    })?;
    Ok(Some(time))
}

fn metrics(analysis: &Analysis) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    let mut put = |key: String, value: Option<f64>| {
        // MLflow would store the largest number instead of an infinity.
        all.extend(value.filter(|value| value.is_finite()).map(|value| (key, value)));
    };
    for variant in &analysis.variants {
        let name = word(&variant.name);
        put(format!("units/{name}"), Some(number(variant.units)));
        put(format!("requests/{name}"), Some(number(variant.requests)));
        put(format!("served_elsewhere/{name}"), Some(number(variant.served_elsewhere)));
    }
    let lines = &analysis.lines;
    for (key, count) in [("read", lines.read), ("used", lines.used), ("malformed", lines.malformed)]
    {
        put(format!("lines/{key}"), Some(number(count)));
    }
    put("srm/p_value".to_owned(), analysis.srm.p_value);
    put("srm/statistic".to_owned(), analysis.srm.statistic);
    for metric in &analysis.metrics {
        let group = word(&metric.name);
        let base = &metric.baseline;
        let candidates = metric.candidates.iter().map(|arm| (&arm.variant, arm.value, arm.n));
        for (variant, value, n) in
            std::iter::once((&base.variant, base.value, base.n)).chain(candidates)
        {
            put(format!("{group}/{}/value", word(variant)), value);
            put(format!("{group}/{}/n", word(variant)), Some(number(n)));
        }
        for arm in &metric.candidates {
            for (key, value) in compared(arm) {
                put(format!("{group}/{}/{key}", word(&arm.variant)), value);
            }
        }
    }
    all
}

fn compared(arm: &CandidateResult) -> [(&'static str, Option<f64>); 10] {
    let [diff_low, diff_high] = arm.ci;
    let [lift_low, lift_high] = arm.relative_lift_ci;
    [
        ("diff", arm.diff),
        ("diff_low", diff_low),
        ("diff_high", diff_high),
        ("relative_lift", arm.relative_lift),
        ("relative_lift_low", lift_low),
        ("relative_lift_high", lift_high),
        ("p_value", arm.p_value),
        ("p_adjusted", arm.p_adjusted),
        ("p_best", arm.p_best),
        ("expected_loss", arm.expected_loss),
    ]
}

fn params(
    experiment: &Experiment,
    analysis: &Analysis,
    from: Timestamp,
    to: Timestamp,
) -> Vec<(String, String)> {
    let baseline = variant(experiment, experiment.baseline);
    let candidates: Vec<&str> =
        experiment.candidates().map(|index| variant(experiment, index)).collect();
    let mut params: Vec<(String, String)> = [
        ("experiment", analysis.experiment.clone()),
        ("config_hash", analysis.config_hash.clone()),
        ("salt", experiment.salt.clone()),
        ("unit", units(experiment)),
        ("unit_of_analysis", analysis.unit_of_analysis.as_str().to_owned()),
        ("baseline", baseline.to_owned()),
        ("candidates", candidates.join(", ")),
        ("from", from.to_string()),
        ("to", to.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    for variant in &experiment.variants {
        let version = variant.request_headers.iter().find(|(name, _)| name == VERSION_HEADER);
        params.extend(
            version
                .map(|(_, version)| (format!("model_version/{}", variant.name), version.clone())),
        );
    }
    let mut weights = |prefix: &str, weights| {
        for (id, share) in experiment.shares_of(weights).entries() {
            params.push((format!("{prefix}/{}", variant(experiment, id)), share.to_string()));
        }
    };
    match &experiment.schedule {
        Schedule::Fixed(fixed) => weights("weight", fixed),
        Schedule::Rollout(rollout) => {
            for phase in &rollout.phases {
                weights(&format!("weight/{}", phase.name), &phase.weights);
            }
        }
    }
    params
}

fn tags(analysis: &Analysis) -> Vec<(String, String)> {
    let mut tags: Vec<(String, String)> = [
        ("ab_test.experiment", analysis.experiment.clone()),
        ("ab_test.config_hash", analysis.config_hash.clone()),
        ("ab_test.decision", analysis.decision.as_str().to_owned()),
        ("ab_test.srm", analysis.srm.verdict.as_str().to_owned()),
        ("mlflow.source.name", concat!("sidetrack ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("mlflow.note.content", note(analysis)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    tags.extend(analysis.winner.iter().map(|winner| ("ab_test.winner".to_owned(), winner.clone())));
    tags
}

/// A name with the letters that a metric's key may have; the slash is ours.
fn word(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "_-. :".contains(c) { c } else { '_' };
    name.chars().map(letter).collect()
}

#[expect(clippy::cast_precision_loss, reason = "MLflow keeps counts as doubles")]
const fn number(count: u64) -> f64 {
    count as f64
}
