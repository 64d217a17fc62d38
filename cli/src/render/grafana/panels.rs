//! What the dashboard shows, top to bottom: what matters at a glance, then what explains it.

use serde_json::{Value, json};
use sidetrack::plan::Plan;

use super::panel::{Panel, fixed};

/// The selector of the chosen experiment.
const OF: &str = "job=\"$job\",experiment=\"$experiment\"";

/// All panels, laid out in rows of 24.
pub(super) fn all(plan: &Plan) -> Vec<Value> {
    let colours = colours(plan);
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
            panels.push(panel.at(id, x, y, &colours));
            x += width;
        }
    }
    panels
}

/// The baseline looks the same everywhere, and so does each candidate.
fn colours(plan: &Plan) -> Vec<Value> {
    const CANDIDATES: [&str; 4] = ["orange", "purple", "green", "yellow"];
    let mut seen: Vec<&str> = Vec::new();
    let mut colours = Vec::new();
    for experiment in &plan.experiments {
        let mut candidates = CANDIDATES.iter().cycle();
        for (index, variant) in experiment.variants.iter().enumerate() {
            let next = if index == experiment.baseline { Some(&"blue") } else { candidates.next() };
            if seen.contains(&variant.name.as_str()) {
                continue;
            }
            seen.push(&variant.name);
            // Whatever is said of a variant follows its name and a space.
            let regex = format!("/^{}( |$)/", variant.name.replace('.', "\\."));
            let colour = fixed(next.copied().unwrap_or("blue"));
            colours.push(json!({
                "matcher": {"id": "byRegexp", "options": regex},
                "properties": [{"id": "color", "value": colour}],
            }));
        }
    }
    colours
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
    format!("sum by ({by}) (rate({name}{{{OF}{more}}}[$__rate_interval]))")
}

fn errors() -> String {
    let requests = |more| rate("ab_test_requests_total", more, "model_name");
    format!("{} / {}", requests(",status=\"error\""), requests(",status=~\"success|error\""))
}

fn quantile(quantile: &str) -> String {
    let rate = rate("ab_test_response_time_seconds_bucket", "", "model_name, le");
    format!("histogram_quantile({quantile}, {rate})")
}

fn state() -> String {
    format!("max by (model_name) (ab_test_breaker_state{{{OF}}})")
}

fn state_names() -> Value {
    let state = |index: u32, text: &str, colour: &str| json!({"index": index, "text": text, "color": colour});
    let options = json!({
        "0": state(0, "closed", "green"), "1": state(1, "half-open", "yellow"), "2": state(2, "open", "red"),
    });
    json!([{"type": "value", "options": options}])
}

fn at_a_glance() -> Vec<Panel> {
    vec![
        Panel::tile("Requests", "Per second, all models together.", "reqps")
            .query(format!("sum(rate(ab_test_requests_total{{{OF}}}[$__rate_interval]))"), "requests")
            .default("color", fixed("blue")),
        Panel::tile("Errors", "The share of requests that failed, as callers saw it.", "percentunit")
            .query(errors(), "{{model_name}}")
            .option("graphMode", json!("none"))
            .from(0.05, "red"),
        Panel::tile("p95", "95 of 100 answers had their headers within this time.", "s")
            .query(quantile("0.95"), "{{model_name}}")
            .option("graphMode", json!("none"))
            .default("color", fixed("text")),
        Panel::tile("Breaker", "The worst of all proxies.", "short")
            .query(state(), "{{model_name}}")
            .option("graphMode", json!("none"))
            .default("mappings", state_names())
            .from(1.0, "red"),
        Panel::tile("Phase", "By the experiment file and the clock.", "short")
            .now(format!("ab_test:phase:in_force{{{OF}}}"), "{{phase}}")
            .option("textMode", json!("name"))
            .option("graphMode", json!("none"))
            .default("color", fixed("text"))
            .default("noValue", json!("no rollout")),
        Panel::tile("Configurations", "More than one: an update has not reached all proxies, or one refused it.", "short")
            .query("count(count by (hash) (count_values by (instance) (\"hash\", ab_test_config_hash{job=\"$job\"})))", "in force")
            .option("graphMode", json!("none"))
            .from(2.0, "red"),
    ]
}

fn split() -> Vec<Panel> {
    let served = rate("ab_test_requests_total", "", "model_name");
    let all = format!("sum(rate(ab_test_requests_total{{{OF}}}[$__rate_interval]))");
    let in_phases =
        |by: &str| format!("sum by ({by}) (increase(ab_test_requests_total{{{OF}}}[$__range]))");
    let share = format!(
        "{} / on (phase) group_left () ({} > 0)",
        in_phases("phase, model_name"),
        in_phases("phase")
    );
    vec![
        Panel::lines(
            "Traffic split against target",
            "Shares of requests served; dashed: the weights in force.",
            "percentunit",
        )
        .size(16, 8)
        .query(format!("{served} / on () group_left () {all}"), "{{model_name}}")
        .query(
            format!("avg by (model_name) (ab_test_variant_weight_ppm{{{OF}}}) / 1e6"),
            "{{model_name}} target",
        )
        .default("max", json!(1))
        .measure(" target$"),
        Panel::table(
            "Split by phase",
            "Shares of requests served in each phase, and what the file promises.",
            "percentunit",
        )
        .now(share, "")
        .now(format!("max by (phase, model_name) (ab_test:target:ratio{{{OF}}})"), "")
        .default("decimals", json!(1))
        .transformed("merge", json!({}))
        .transformed("sortBy", json!({"sort": [{"field": "phase"}]}))
        .transformed(
            "organize",
            json!({
                "excludeByName": {"Time": true},
                "indexByName": {"phase": 0, "model_name": 1, "Value #A": 2, "Value #B": 3},
                "renameByName": {"model_name": "model", "Value #A": "served", "Value #B": "target"},
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
            rate("ab_test_requests_total", "", "model_name, status"),
            "{{model_name}} {{status}}",
        )
        .series(" aborted$", &[("color", fixed("text"))])
        .series(" error$", &[("color", fixed("red"))]),
        Panel::lines("Error share", "Dashed: the breaker's limit.", "percentunit")
            .size(12, 8)
            .query(errors(), "{{model_name}}")
            .query(format!("max(ab_test:error_limit:ratio{{{OF}}})"), "limit")
            .limit(),
    ]
}

fn times() -> Vec<Panel> {
    let limit = format!("max(ab_test:slow_limit:seconds{{{OF}}})");
    let about = "Seconds to the response's headers.";
    vec![
        Panel::lines("p50", about, "s").query(quantile("0.5"), "{{model_name}}"),
        Panel::lines(
            "p95",
            "Seconds to the response's headers. Dashed: the breaker's slow.over.",
            "s",
        )
        .query(quantile("0.95"), "{{model_name}}")
        .query(limit, "limit")
        .limit(),
        Panel::lines("p99", about, "s").query(quantile("0.99"), "{{model_name}}"),
    ]
}

fn breaker() -> Vec<Panel> {
    let counted =
        |name: &str| format!("sum by (model_name) (increase({name}{{{OF}}}[$__rate_interval]))");
    vec![
        Panel::states("Breaker", "The worst of all proxies.")
            .query(state(), "{{model_name}}")
            .default("mappings", state_names())
            .default("color", json!({"mode": "thresholds"})),
        Panel::lines(
            "Fallbacks",
            "Requests per second that were assigned to a candidate and got the baseline.",
            "reqps",
        )
        .query(rate("ab_test_fallbacks_total", "", "model_name"), "{{model_name}}"),
        Panel::lines("Trips", "How often breakers opened, or would have.", "short")
            .query(counted("ab_test_breaker_trips_total"), "{{model_name}}")
            .query(counted("ab_test_breaker_would_trip_total"), "{{model_name}} would trip")
            .series(" would trip$", &[("color", fixed("yellow"))]),
    ]
}

fn filter() -> Vec<Panel> {
    let second = |name: &str| format!("sum(rate({name}{{{OF}}}[$__rate_interval]))");
    // As a regular expression, the dots of a name match what Envoy has in their place.
    let bypass = "sum(rate(envoy_vhost_route_upstream_rq_total\
                  {job=\"$job\",envoy_route=~\"sidetrack-bypass:$experiment\"}[$__rate_interval]))";
    vec![
        Panel::lines("Mirror, units, testers", "Requests per second.", "reqps")
            .query(second("ab_test_mirrored_total"), "mirrored")
            .query(second("ab_test_missing_unit_total"), "without a unit")
            .query(second("ab_test_overrides_total"), "overridden"),
        Panel::lines(
            "Past the filter",
            "Requests that the filter should have seen and did not, and configurations that it refused.",
            "reqps",
        )
        .query(bypass, "without the filter")
        .query(
            "sum(increase(ab_test_config_rejected_total{job=\"$job\"}[$__rate_interval]))",
            "refused configurations",
        ),
        Panel::levels(
            "Sample ratio",
            "How far the assigned shares of 30 minutes are from the weights in force.",
            "percentunit",
        )
        .query(format!("ab_test:sample_ratio:drift30m{{{OF}}}"), "{{model_name}}")
        .default("min", json!(-0.1))
        .default("max", json!(0.1)),
    ]
}

/// What the models' owners publish, from a textfile collector or a job of their own.
fn models() -> Vec<Panel> {
    vec![
        Panel::levels("Accuracy", "From whoever publishes ab_test_model_accuracy.", "percentunit")
            .size(12, 8)
            .query(
                "avg by (model_name) (ab_test_model_accuracy{experiment=\"$experiment\"})",
                "{{model_name}}",
            ),
        Panel::levels("Business impact", "From whoever publishes ab_test_business_impact.", "short")
            .size(12, 8)
            .query(
                "sum by (model_name, metric_type) (ab_test_business_impact{experiment=\"$experiment\"})",
                "{{model_name}} {{metric_type}}",
            ),
    ]
}
