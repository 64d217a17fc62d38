//! What the dashboard shows, top to bottom: what matters at a glance, then what explains it.

use serde_json::{Map, Value, json};
use sidetrack::names::breaker_state::{CLOSED, HALF_OPEN, OPEN};
use sidetrack::names::label::{EXPERIMENT, LE, METRIC_TYPE, MODEL, PHASE, STATUS};
use sidetrack::names::metric::{
    self, BUSINESS_IMPACT, CONFIG_HASH, CONFIG_REJECTED, MODEL_ACCURACY,
};
use sidetrack::names::record;
use sidetrack::names::route::BYPASS;
use sidetrack::names::status::{ABORTED, ERROR, SUCCESS};
use sidetrack::plan::Plan;

use super::panel::{Panel, fixed};

/// The series of the chosen experiment, with further conditions that begin with a comma.
pub(super) fn chosen(name: &str, more: &str) -> String {
    format!("{name}{{job=\"$job\",{EXPERIMENT}=\"$experiment\"{more}}}")
}

/// A label's value in a legend.
pub(super) fn legend(label: &str) -> String {
    format!("{{{{{label}}}}}")
}

/// All panels, laid out in rows of 24.
pub(super) fn all(plan: &Plan) -> Vec<Value> {
    let colors = colors(plan);
    let mut panels = Vec::new();
    let (mut x, mut y, mut tallest) = (0, 0, 0);
    for (row, of_row) in rows() {
        if let Some(title) = row {
            (x, y, tallest) = (0, y + tallest, 0);
            let place = json!({"x": 0, "y": y, "w": 24, "h": 1});
            let id = panels.len() + 1;
            panels.push(json!({
                "id": id, "type": "row", "title": title, "gridPos": place, "collapsed": false, "panels": [],
            }));
            y += 1;
        }
        for panel in of_row {
            if x + panel.width() > 24 {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            tallest = tallest.max(panel.height());
            let (id, width) = (panels.len() + 1, panel.width());
            panels.push(panel.at(id, x, y, &colors));
            x += width;
        }
    }
    panels
}

/// The baseline looks the same everywhere, and so does each candidate.
fn colors(plan: &Plan) -> Vec<Value> {
    const CANDIDATES: [&str; 4] = ["orange", "purple", "green", "yellow"];
    let mut seen: Vec<&str> = Vec::new();
    let mut colors = Vec::new();
    for experiment in &plan.experiments {
        let mut candidates = CANDIDATES.iter().cycle();
        for (id, variant) in experiment.variants.entries() {
            let next = if id == experiment.baseline { Some(&"blue") } else { candidates.next() };
            if seen.contains(&variant.name.as_str()) {
                continue;
            }
            seen.push(&variant.name);
            // In legends, a variant's name is followed by a space.
            let regex = format!("/^{}( |$)/", variant.name.replace('.', "\\."));
            let color = fixed(next.copied().unwrap_or("blue"));
            colors.push(json!({
                "matcher": {"id": "byRegexp", "options": regex},
                "properties": [{"id": "color", "value": color}],
            }));
        }
    }
    colors
}

fn rows() -> Vec<(Option<&'static str>, Vec<Panel>)> {
    vec![
        (None, at_a_glance()),
        (Some("Split"), split()),
        (Some("Success and errors"), outcomes()),
        (Some("Response time"), times()),
        (Some("Breaker"), breaker()),
        (Some("Filter"), filter()),
        (Some("Models"), models()),
    ]
}

fn rate(name: &str, more: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({}[$__rate_interval]))", chosen(name, more))
}

pub(super) fn counted(name: &str) -> String {
    format!("sum by ({MODEL}) (increase({}[$__rate_interval]))", chosen(name, ""))
}

fn second(name: &str) -> String {
    format!("sum(rate({}[$__rate_interval]))", chosen(name, ""))
}

fn errors() -> String {
    let requests = |more: &str| rate(metric::REQUESTS, more, MODEL);
    let failed = requests(&format!(",{STATUS}=\"{ERROR}\""));
    format!("{failed} / {}", requests(&format!(",{STATUS}=~\"{SUCCESS}|{ERROR}\"")))
}

fn quantile(quantile: &str) -> String {
    let rate = rate(metric::RESPONSE_TIME_BUCKET, "", &format!("{MODEL}, {LE}"));
    format!("histogram_quantile({quantile}, {rate})")
}

fn state() -> String {
    format!("max by ({MODEL}) ({})", chosen(metric::BREAKER_STATE, ""))
}

fn state_names() -> Value {
    let state =
        |index: u32, text: &str, color: &str| json!({"index": index, "text": text, "color": color});
    let options: Map<String, Value> = [
        (CLOSED, state(0, "closed", "green")),
        (HALF_OPEN, state(1, "half-open", "yellow")),
        (OPEN, state(2, "open", "red")),
    ]
    .map(|(code, state)| (code.to_string(), state))
    .into_iter()
    .collect();
    json!([{"type": "value", "options": options}])
}

fn at_a_glance() -> Vec<Panel> {
    vec![
        Panel::tile("Requests", "Per second, all models together.", "reqps")
            .query(second(metric::REQUESTS), "requests")
            .default("color", fixed("blue")),
        Panel::tile("Errors", "The share of requests that failed, as callers saw it.", "percentunit")
            .query(errors(), &legend(MODEL))
            .option("graphMode", json!("none"))
            .from(0.05, "red"),
        Panel::tile("p95", "95 of 100 answers had their headers within this time.", "s")
            .query(quantile("0.95"), &legend(MODEL))
            .option("graphMode", json!("none"))
            .default("color", fixed("text")),
        Panel::tile("Breaker", "The worst of all proxies.", "short")
            .query(state(), &legend(MODEL))
            .option("graphMode", json!("none"))
            .default("mappings", state_names())
            .from(1.0, "red"),
        Panel::tile("Phase", "By the experiment file and the clock.", "short")
            .now(chosen(record::PHASE_IN_FORCE, ""), &legend(PHASE))
            .option("textMode", json!("name"))
            .option("graphMode", json!("none"))
            .default("color", fixed("text"))
            .default("noValue", json!("no rollout")),
        Panel::tile("Configurations", "More than one: an update has not reached all proxies, or one rejected it.", "short")
            .query(format!("count(count by (hash) (count_values by (instance) (\"hash\", {CONFIG_HASH}{{job=\"$job\"}})))"), "in force")
            .option("graphMode", json!("none"))
            .from(2.0, "red"),
    ]
}

fn split() -> Vec<Panel> {
    let served = rate(metric::REQUESTS, "", MODEL);
    let all = second(metric::REQUESTS);
    let in_phases =
        |by: &str| format!("sum by ({by}) (increase({}[$__range]))", chosen(metric::REQUESTS, ""));
    let share = format!(
        "{} / on ({PHASE}) group_left () ({} > 0)",
        in_phases(&format!("{PHASE}, {MODEL}")),
        in_phases(PHASE)
    );
    vec![
        Panel::lines(
            "Traffic split against target",
            "Shares of requests served; dashed: the weights in force.",
            "percentunit",
        )
        .size(16, 8)
        .query(format!("{served} / on () group_left () {all}"), &legend(MODEL))
        .query(
            format!("avg by ({MODEL}) ({}) / 1e6", chosen(metric::WEIGHT, "")),
            &format!("{} target", legend(MODEL)),
        )
        .default("max", json!(1))
        .measure(" target$"),
        Panel::table(
            "Split by phase",
            "Shares of requests served in each phase, and what the file promises.",
            "percentunit",
        )
        .now(share, "")
        .now(format!("max by ({PHASE}, {MODEL}) ({})", chosen(record::TARGET, "")), "")
        .default("decimals", json!(1))
        .transformed("merge", json!({}))
        .transformed("sortBy", json!({"sort": [{"field": PHASE}]}))
        .transformed(
            "organize",
            json!({
                "excludeByName": {"Time": true},
                "indexByName": {PHASE: 0, MODEL: 1, "Value #A": 2, "Value #B": 3},
                "renameByName": {MODEL: "model", "Value #A": "served", "Value #B": "target"},
            }),
        ),
    ]
}

fn outcomes() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Requests by outcome",
            "Aborted: the caller hung up before the answer.",
            "reqps",
        )
        .size(12, 8)
        .query(
            rate(metric::REQUESTS, "", &format!("{MODEL}, {STATUS}")),
            &format!("{} {}", legend(MODEL), legend(STATUS)),
        )
        .series(&format!(" {ABORTED}$"), &[("color", fixed("text"))])
        .series(&format!(" {ERROR}$"), &[("color", fixed("red"))]),
        Panel::lines("Error share", "Dashed: the breaker's limit.", "percentunit")
            .size(12, 8)
            .query(errors(), &legend(MODEL))
            .query(format!("max({})", chosen(record::ERROR_LIMIT, "")), "limit")
            .limit(),
    ]
}

fn times() -> Vec<Panel> {
    let limit = format!("max({})", chosen(record::SLOW_LIMIT, ""));
    let about = "Seconds to the response's headers.";
    vec![
        Panel::lines("p50", about, "s").query(quantile("0.5"), &legend(MODEL)),
        Panel::lines(
            "p95",
            "Seconds to the response's headers. Dashed: the breaker's slow.over.",
            "s",
        )
        .query(quantile("0.95"), &legend(MODEL))
        .query(limit, "limit")
        .limit(),
        Panel::lines("p99", about, "s").query(quantile("0.99"), &legend(MODEL)),
    ]
}

fn breaker() -> Vec<Panel> {
    vec![
        Panel::states("Breaker", "The worst of all proxies.")
            .query(state(), &legend(MODEL))
            .default("mappings", state_names())
            .default("color", json!({"mode": "thresholds"})),
        Panel::lines(
            "Fallbacks",
            "Requests per second that were assigned to a candidate and got the baseline.",
            "reqps",
        )
        .query(rate(metric::FALLBACKS, "", MODEL), &legend(MODEL)),
        Panel::lines("Trips", "How often breakers opened, or would have.", "short")
            .query(counted(metric::BREAKER_TRIPS), &legend(MODEL))
            .query(counted(metric::BREAKER_WOULD_TRIP), &format!("{} would trip", legend(MODEL)))
            .series(" would trip$", &[("color", fixed("yellow"))]),
    ]
}

fn filter() -> Vec<Panel> {
    // As a regular expression, the dots of a name match what Envoy has in their place.
    let bypass = format!(
        "sum(rate(envoy_vhost_route_upstream_rq_total{{job=\"$job\",envoy_route=~\"{BYPASS}$experiment\"}}\
         [$__rate_interval]))"
    );
    vec![
        Panel::lines("Mirror, units, testers", "Requests per second.", "reqps")
            .query(second(metric::MIRRORED), "mirrored")
            .query(second(metric::MISSING_UNIT), "without a unit")
            .query(second(metric::OVERRIDES), "overridden"),
        Panel::lines(
            "Past the filter",
            "Requests that the filter should have seen and did not, and configurations that it rejected. With \
             `missing_unit: skip`, requests without a unit count as well.",
            "reqps",
        )
        .query(bypass, "without the filter")
        .query(
            format!("sum(increase({CONFIG_REJECTED}{{job=\"$job\"}}[$__rate_interval]))"),
            "rejected configurations",
        ),
        Panel::levels(
            "Sample ratio",
            "How far the assigned shares of 30 minutes are from the weights in force.",
            "percentunit",
        )
        .query(chosen(record::SAMPLE_RATIO_DRIFT, ""), &legend(MODEL))
        .default("min", json!(-0.1))
        .default("max", json!(0.1)),
    ]
}

/// What the models' owners publish, from a textfile collector or a job of their own.
fn models() -> Vec<Panel> {
    vec![
        Panel::levels("Accuracy", format!("From whoever publishes {MODEL_ACCURACY}."), "percentunit")
            .size(12, 8)
            .query(
                format!("avg by ({MODEL}) ({MODEL_ACCURACY}{{{EXPERIMENT}=\"$experiment\"}})"),
                &legend(MODEL),
            ),
        Panel::levels("Business impact", format!("From whoever publishes {BUSINESS_IMPACT}."), "short")
            .size(12, 8)
            .query(
                format!("sum by ({MODEL}, {METRIC_TYPE}) ({BUSINESS_IMPACT}{{{EXPERIMENT}=\"$experiment\"}})"),
                &format!("{} {}", legend(MODEL), legend(METRIC_TYPE)),
            ),
    ]
}
