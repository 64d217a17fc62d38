//! `render helm`: a Helm chart whose values are the experiment file.
//!
//! The templates are the objects of `render istio` for the same options, with the values in place of what a release
//! changes: experiments, image and labels. So there is one source of the manifests. What decides about routes (names,
//! hosts, paths, the baseline) is part of the chart: values that differ in it are refused with a sentence.

mod args;
mod objects;

use serde_json::{Value, json};
use sidetrack::config::Node;

use super::folder::File;
use super::istio;
use crate::load::Loaded;
use crate::manifest::KINDS;
use crate::{template, yaml};
pub(super) use args::{Args, run};

const TEMPLATES: [(&str, &str); 5] = [
    ("Chart.yaml", include_str!("../../templates/helm/Chart.yaml")),
    ("values.yaml", include_str!("../../templates/helm/values.yaml")),
    ("_helpers.tpl", include_str!("../../templates/helm/_helpers.tpl")),
    ("advance.yaml", include_str!("../../templates/helm/advance.yaml")),
    ("NOTES.txt", include_str!("../../templates/helm/NOTES.txt")),
];

/// What the chart depends on besides the experiments.
pub(super) struct Options {
    pub(super) version: String,
    /// The options of the manifests.
    pub(super) istio: istio::Options,
}

/// The files of the chart.
pub(super) fn files(loaded: &Loaded, options: &Options) -> anyhow::Result<Vec<File>> {
    anyhow::ensure!(
        options.istio.route == istio::Routing::Virtualservice,
        "--route envoyfilter does not work in a chart\n  hint: use --route virtualservice"
    );
    anyhow::ensure!(
        options.istio.kind != istio::Kind::EnvoyFilter,
        "--kind envoyfilter does not work in a chart\n  hint: use --kind wasmplugin or --kind trafficextension"
    );
    anyhow::ensure!(
        options.istio.body_unit == istio::BodyUnit::Filter,
        "--body-unit lua does not work in a chart\n  hint: the script depends on the experiments, which a release \
         changes; apply the output of `sidetrack render istio`"
    );
    let text = istio::manifests(loaded, &options.istio, false)?;
    let chart = objects::templates(&text)?;
    let context = json!({
        "name": options.istio.name,
        "version": options.version,
        "app_version": env!("CARGO_PKG_VERSION"),
        "experiments": loaded.plan.experiments.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", "),
        "image": chart.image,
        "carrier": chart.carrier,
        "object": object(&chart.carrier).to_string(),
        "shape": shape(loaded).to_string(),
    });
    let render = |name: &str| template::render(&TEMPLATES, name, &context);
    let file = |path: &str, text: String| File { path: path.to_owned(), text };
    let mut schema = serde_json::to_string_pretty(&schema())?;
    schema.push('\n');
    Ok(vec![
        file("Chart.yaml", render("Chart.yaml")?),
        file("experiment.yaml", yaml::write(&loaded.node)?),
        file("values.yaml", render("values.yaml")?),
        file("values.schema.json", schema),
        file("templates/_helpers.tpl", render("_helpers.tpl")?),
        file("templates/NOTES.txt", render("NOTES.txt")?),
        file("templates/advance.yaml", render("advance.yaml")?),
        file("templates/manifests.yaml", chart.text),
    ])
}

/// The object with the experiments, and its resource as a Role names it.
fn object(carrier: &Value) -> Value {
    let kind = carrier.get("kind").and_then(Value::as_str);
    let known = KINDS.iter().find(|known| Some(known.name) == kind);
    let mut object = carrier.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert(
            "resource".to_owned(),
            known.and_then(|known| known.resource.split('.').next()).into(),
        );
    }
    object
}

/// What the routes depend on. `_helpers.tpl` takes the same from the values.
fn shape(loaded: &Loaded) -> Value {
    let plain = |node: Option<&Node>| node.map_or(Value::Null, |node| json!(node));
    let list = |node: Option<&Node>| match node {
        Some(Node::List(items)) => items.clone(),
        _ => Vec::new(),
    };
    let experiments = list(loaded.node.get("experiments"));
    let of = |experiment: &Node| {
        let inner =
            |key: &str, inner: &str| plain(experiment.get(key).and_then(|it| it.get(inner)));
        let names = list(experiment.get("variants"));
        json!({
            "name": plain(experiment.get("name")),
            "match": plain(experiment.get("match")),
            "baseline": plain(experiment.get("baseline")),
            "variants": names.iter().map(|variant| plain(variant.get("name"))).collect::<Vec<_>>(),
            "mirror": inner("mirror", "cluster"),
            "override": inner("overrides", "header"),
        })
    };
    let prefix = loaded.node.get("settings").and_then(|settings| settings.get("header_prefix"));
    json!({"experiments": experiments.iter().map(of).collect::<Vec<_>>(), "header_prefix": plain(prefix)})
}

/// The schema of the values: that of the experiment file, and the chart's own keys.
fn schema() -> Value {
    let mut schema = json!(sidetrack::config::json_schema());
    let own = json!({
        "image": {
            "description": "The filter's image.",
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "url": {"type": "string", "pattern": "^(oci|https?|file)://", "description": "The URL of the image."},
                "sha256": {
                    "type": "string", "pattern": "^([0-9a-f]{64})?$",
                    "description": "The digest of the image's manifest.",
                },
                "pullSecret": {
                    "type": "string",
                    "description": "The Secret to pull the image with, in the filter's namespace.",
                },
            },
        },
        "labels": {
            "description": "Labels of all resources.",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        "advance": advance(),
        "global": {"description": "Values of a chart that includes this one.", "type": "object"},
    });
    if let (Some(Value::Object(properties)), Value::Object(own)) =
        (schema.get_mut("properties"), own)
    {
        properties.extend(own);
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("title".to_owned(), "Values of a Sidetrack chart".into());
        fields.insert(
            "description".to_owned(),
            "An experiment file, and the chart's own values.".into(),
        );
        fields.insert("required".to_owned(), json!(["image"]));
    }
    schema
}

/// The schema of the values for the Deployment.
fn advance() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let yes = |description: &str| json!({"type": "boolean", "description": description});
    let time = |description: &str| json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "description": description});
    json!({
        "description": "A Deployment of `sidetrack advance --watch --apply kube`.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "enabled": yes("Whether there is one."),
            "image": text("An image with the command `sidetrack`."),
            "imagePullPolicy": {
                "enum": ["Always", "IfNotPresent", "Never"], "description": "When the image is pulled.",
            },
            "imagePullSecret": text("The Secret to pull the image with."),
            "replicas": {"type": "integer", "minimum": 0, "description": "One acts, and the others wait."},
            "every": time("The time between two decisions."),
            "experiment": text("The experiment, if there are several."),
            "candidate": text("The candidate, if there are several."),
            "store": text("The address of `sidetrack serve`."),
            "storeTokenSecret": text("The Secret whose key `token` has the store's bearer token."),
            "maxAge": time("Raise only by evidence that ends no longer ago than this."),
            "prometheus": text("The address of Prometheus."),
            "ready": text("A query for the number of ready endpoints."),
            "forceConflicts": yes("Take the experiments over from Helm at the first change."),
            "resources": {"type": "object", "description": "The resources of the container."},
        },
    })
}
