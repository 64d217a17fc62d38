//! Asks Prometheus everything that the dashboard asks, as Grafana would.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::stand::{INTERVAL, JOB, Stand, now};

/// The dashboard, and what Prometheus answered to it.
pub(crate) struct Dashboard {
    pub(crate) dashboard: Value,
    /// By panel and query: `{"panel", "title", "refId", "expr", "legend", "instant", "series"}`.
    pub(crate) answers: Vec<Value>,
    pub(crate) annotations: Vec<Value>,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// The query with the variables and Grafana's own filled in.
fn expanded(expr: &str, range: f64) -> String {
    expr.replace("$__rate_interval", &format!("{}s", 4 * INTERVAL))
        .replace("$__range", &format!("{}s", range.ceil()))
        .replace("$job", JOB)
        .replace("$experiment", "forecast")
}

impl Dashboard {
    pub(crate) async fn asked(stand: &Stand) -> Result<Self> {
        let (from, to) = (stand.began, now());
        let dashboard = stand.dashboard.clone();
        let mut answers = Vec::new();
        for panel in dashboard["panels"].as_array().context("panels")? {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = expanded(target["expr"].as_str().context("expr")?, to - from);
                ensure!(!expr.contains('$'), "{expr} has a variable that nobody fills in");
                let instant = target["instant"] == true;
                let series = if instant {
                    stand.prometheus.query(&expr).await?
                } else {
                    stand.over_time(&expr).await?
                };
                answers.push(json!({
                    "panel": panel["id"], "title": panel["title"], "refId": target["refId"], "expr": expr,
                    "legend": target["legendFormat"], "instant": instant, "full": stand.has_numbers(&series), "series": series,
                }));
            }
        }
        let mut annotations = Vec::new();
        for annotation in dashboard["annotations"]["list"].as_array().context("annotations")? {
            let expr = expanded(annotation["target"]["expr"].as_str().context("expr")?, to - from);
            let series = stand.over_time(&expr).await?;
            annotations.push(json!({
                "name": annotation["name"], "title": annotation["titleFormat"], "colour": annotation["iconColor"],
                "expr": expr, "full": stand.has_numbers(&series), "series": series,
            }));
        }
        for variable in dashboard["templating"]["list"].as_array().context("variables")? {
            if variable["type"] == "query" {
                has_its_value(stand, variable).await?;
            }
        }
        Ok(Self { dashboard, answers, annotations, from, to })
    }

    /// A query that returns nothing fails the build.
    pub(crate) fn is_nowhere_empty(&self) -> Result<()> {
        ensure!(self.answers.len() > 25, "only {} queries", self.answers.len());
        for answer in self.answers.iter().chain(&self.annotations) {
            ensure!(answer["full"] == true, "{}: no data for {}", answer["title"], answer["expr"]);
        }
        Ok(())
    }
}

/// `label_values(series, label)` knows the value that the dashboard begins with.
async fn has_its_value(stand: &Stand, variable: &Value) -> Result<()> {
    let query = variable["query"]["query"].as_str().context("a query")?;
    let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (series, label) = inside
        .and_then(|inside| inside.rsplit_once(", "))
        .context("label_values(series, label)")?;
    let series = expanded(series, 0.0);
    let values = stand
        .prometheus
        .api(&format!("/api/v1/label/{label}/values"), &[("match[]", &series)])
        .await?;
    let current = &variable["current"]["value"];
    ensure!(
        values.as_array().is_some_and(|values| values.contains(current)),
        "{query}: {current} is not in {values}"
    );
    Ok(())
}
