//! The parts that panels are made of, in Grafana's words.

use serde_json::{Map, Value, json};

/// The data source that the variable names.
pub(super) fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A panel before it has a place.
pub(super) struct Panel {
    kind: &'static str,
    title: &'static str,
    about: String,
    width: u32,
    height: u32,
    targets: Vec<Value>,
    unit: &'static str,
    defaults: Map<String, Value>,
    overrides: Vec<Value>,
    options: Value,
    transformations: Vec<Value>,
}

impl Panel {
    fn new(
        kind: &'static str,
        title: &'static str,
        about: impl Into<String>,
        unit: &'static str,
        options: Value,
    ) -> Self {
        Self {
            kind,
            title,
            about: about.into(),
            width: 8,
            height: 8,
            targets: Vec::new(),
            unit,
            defaults: Map::new(),
            overrides: Vec::new(),
            options,
            transformations: Vec::new(),
        }
    }

    /// Lines over time.
    pub(super) fn lines(title: &'static str, about: impl Into<String>, unit: &'static str) -> Self {
        let options = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        let custom = json!({
            "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 2, "fillOpacity": 8, "showPoints": "never",
            "spanNulls": false, "axisPlacement": "auto", "axisSoftMin": 0,
        });
        Self::new("timeseries", title, about, unit, options).default("custom", custom)
    }

    /// Lines whose axis need not begin at zero.
    pub(super) fn levels(
        title: &'static str,
        about: impl Into<String>,
        unit: &'static str,
    ) -> Self {
        let mut panel = Self::lines(title, about, unit);
        if let Some(custom) = panel.defaults.get_mut("custom").and_then(Value::as_object_mut) {
            custom.remove("axisSoftMin");
            custom.insert("fillOpacity".to_owned(), json!(0));
        }
        panel
    }

    /// The last value, large.
    pub(super) fn tile(title: &'static str, about: impl Into<String>, unit: &'static str) -> Self {
        let options = json!({
            "reduceOptions": {"values": false, "calcs": ["lastNotNull"], "fields": ""},
            "orientation": "auto", "textMode": "auto", "wideLayout": true, "colorMode": "value", "graphMode": "area",
            "justifyMode": "auto", "showPercentChange": false, "percentChangeColorMode": "standard",
        });
        Self::new("stat", title, about, unit, options).size(4, 4)
    }

    /// What state something was in over time.
    pub(super) fn states(title: &'static str, about: impl Into<String>) -> Self {
        let options = json!({
            "showValue": "auto", "rowHeight": 0.8, "mergeValues": true, "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        let custom = json!({"fillOpacity": 80, "lineWidth": 0});
        Self::new("state-timeline", title, about, "short", options).default("custom", custom)
    }

    /// Rows of the moment.
    pub(super) fn table(title: &'static str, about: impl Into<String>, unit: &'static str) -> Self {
        Self::new("table", title, about, unit, json!({"showHeader": true, "cellHeight": "sm"}))
    }

    pub(super) fn size(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// A query over time.
    pub(super) fn query(mut self, expr: impl Into<String>, legend: &str) -> Self {
        let target = self.target(expr.into(), legend);
        self.targets.push(merged(
            target,
            json!({"range": true, "instant": false, "format": "time_series"}),
        ));
        self
    }

    /// A query at the end of the time.
    pub(super) fn now(mut self, expr: impl Into<String>, legend: &str) -> Self {
        let format = if self.kind == "table" { "table" } else { "time_series" };
        let target = self.target(expr.into(), legend);
        self.targets
            .push(merged(target, json!({"range": false, "instant": true, "format": format})));
        self
    }

    fn target(&self, expr: String, legend: &str) -> Value {
        let letter = ["A", "B", "C", "D"].get(self.targets.len()).copied().unwrap_or("E");
        json!({
            "refId": letter, "datasource": datasource(), "editorMode": "code", "expr": expr, "legendFormat": legend,
        })
    }

    pub(super) fn default(mut self, key: &str, value: Value) -> Self {
        self.defaults.insert(key.to_owned(), value);
        self
    }

    pub(super) fn option(mut self, key: &str, value: Value) -> Self {
        self.options = merged(self.options, json!({key: value}));
        self
    }

    /// Properties of the series whose names match a regular expression.
    pub(super) fn series(mut self, regex: &str, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<_> =
            properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        let matcher = json!({"id": "byRegexp", "options": format!("/{regex}/")});
        self.overrides.push(json!({"matcher": matcher, "properties": properties}));
        self
    }

    /// Draws the series of this name as what others are measured by.
    pub(super) fn measure(self, regex: &str) -> Self {
        let dash = json!({"fill": "dash", "dash": [8, 6]});
        self.series(
            regex,
            &[
                ("custom.lineStyle", dash),
                ("custom.lineWidth", json!(1)),
                ("custom.fillOpacity", json!(0)),
            ],
        )
    }

    pub(super) fn limit(self) -> Self {
        self.measure("^limit$").series("^limit$", &[("color", fixed("red"))])
    }

    pub(super) fn transformed(mut self, id: &str, options: Value) -> Self {
        self.transformations.push(json!({"id": id, "options": options}));
        self
    }

    /// Green, and another color from a value on.
    pub(super) fn from(self, value: f64, color: &str) -> Self {
        let steps = json!([{"color": "green", "value": null}, {"color": color, "value": value}]);
        self.default("thresholds", json!({"mode": "absolute", "steps": steps}))
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// The panel in its place.
    pub(super) fn at(self, id: usize, x: u32, y: u32, colors: &[Value]) -> Value {
        let overrides: Vec<Value> = match self.kind {
            "timeseries" => colors.iter().cloned().chain(self.overrides).collect(),
            _ => self.overrides,
        };
        let defaults =
            merged(json!({"unit": self.unit, "mappings": []}), Value::Object(self.defaults));
        let mut panel = json!({
            "id": id, "type": self.kind, "title": self.title, "description": self.about,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": datasource(), "targets": self.targets, "options": self.options,
            "fieldConfig": {"defaults": defaults, "overrides": overrides},
        });
        if !self.transformations.is_empty() {
            panel = merged(panel, json!({"transformations": self.transformations}));
        }
        panel
    }
}

/// One color, always.
pub(super) fn fixed(color: &str) -> Value {
    json!({"mode": "fixed", "fixedColor": color})
}

/// The first object with the members of the second.
fn merged(mut first: Value, second: Value) -> Value {
    if let (Some(first), Value::Object(second)) = (first.as_object_mut(), second) {
        first.extend(second);
    }
    first
}
