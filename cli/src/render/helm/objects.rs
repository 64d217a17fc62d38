//! Manifests as templates of Helm.
//!
//! The values that a release changes are replaced by marks in the objects, and the marks by actions in the text.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sidetrack::config::Node;

use crate::manifest::{self, KINDS};
use crate::yaml;

const CONFIGURATION: &str = "sidetrack-mark-configuration";
const URL: &str = "sidetrack-mark-url";
const SHA256: &str = "sidetrack-mark-sha256";
const PULL_SECRET: &str = "sidetrack-mark-pull-secret";
const LABELS: &str = "sidetrack-mark-labels";
const NO_LABELS: &str = "sidetrack-mark-no-labels";

/// The templates, and what was in the place of the values.
pub(super) struct Chart {
    pub(super) text: String,
    /// The default image.
    pub(super) image: Value,
    /// Kind, namespace and name of the object with the experiments.
    pub(super) carrier: Value,
}

/// Turns manifests into a template.
pub(super) fn templates(manifests: &str) -> anyhow::Result<Chart> {
    let objects: Vec<Value> =
        yaml::read_all(manifests).map_err(|error| anyhow::anyhow!("the manifests: {error}"))?;
    let (mut text, mut image, mut carrier) = (String::new(), Value::Null, Value::Null);
    for mut object in objects.into_iter().filter(|object| !object.is_null()) {
        if let Some(found) = configuration(&mut object)? {
            carrier = found;
            image = json!({"url": "", "sha256": "", "pullSecret": ""});
            let fields =
                fields(&mut object).context("the object with the experiments has no fields")?;
            for (key, name, mark) in [
                ("url", "url", URL),
                ("sha256", "sha256", SHA256),
                ("imagePullSecret", "pullSecret", PULL_SECRET),
            ] {
                if let (Some(value), Some(image)) = (fields.remove(key), image.as_object_mut()) {
                    image.insert(name.to_owned(), value);
                }
                fields.insert(key.to_owned(), mark.into());
            }
        }
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.context("a manifest has no metadata")?;
        match metadata.get_mut("labels").and_then(Value::as_object_mut) {
            Some(labels) => labels.insert(LABELS.to_owned(), "".into()),
            None => metadata.insert(NO_LABELS.to_owned(), "".into()),
        };
        text.push_str("---\n");
        // Keys in the order of Kubernetes, which is the alphabet's.
        for line in yaml::write(&object)?.lines() {
            text.push_str(&action(line));
            text.push('\n');
        }
    }
    ensure!(
        carrier != Value::Null,
        "none of the manifests has a pluginConfig for values\n  hint: use --kind wasmplugin or --kind trafficextension"
    );
    Ok(Chart { text, image, carrier })
}

/// Puts the mark into the place of the experiments; `None` for an object without them.
fn configuration(object: &mut Value) -> anyhow::Result<Option<Value>> {
    let tree: Node = serde_json::from_value(object.clone())?;
    if manifest::of(&tree).is_empty() {
        return Ok(None);
    }
    let text =
        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    let kind = text("/kind").filter(|kind| KINDS.iter().any(|known| known.name == kind));
    let carrier = json!({
        "kind": kind, "namespace": text("/metadata/namespace"), "name": text("/metadata/name"),
    });
    if let Some(fields) = fields(object) {
        fields.insert("pluginConfig".to_owned(), CONFIGURATION.into());
    }
    Ok(Some(carrier))
}

/// The fields of the filter in its object.
fn fields(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let spec = object.get_mut("spec")?;
    let place = if spec.get("wasm").is_some() { spec.get_mut("wasm")? } else { spec };
    place.as_object_mut()
}

/// A line with the action of its mark.
fn action(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (spaces, inside) = (" ".repeat(indent), indent + 2);
    let with = |key: &str, value: &str| {
        format!(
            "{spaces}{{{{- with .Values.image.{value} }}}}\n{spaces}{key}: {{{{ . | quote }}}}\n{spaces}{{{{- end }}}}"
        )
    };
    if line.contains(CONFIGURATION) {
        format!(
            "{spaces}pluginConfig:\n{spaces}  {{{{- include \"sidetrack.configuration\" . | nindent {inside} }}}}"
        )
    } else if line.contains(URL) {
        format!("{spaces}url: {{{{ .Values.image.url | quote }}}}")
    } else if line.contains(SHA256) {
        with("sha256", "sha256")
    } else if line.contains(PULL_SECRET) {
        with("imagePullSecret", "pullSecret")
    } else if line.contains(LABELS) {
        format!(
            "{spaces}{{{{- with .Values.labels }}}}\n{spaces}{{{{- toYaml . | nindent {indent} }}}}\n\
             {spaces}{{{{- end }}}}"
        )
    } else if line.contains(NO_LABELS) {
        format!(
            "{spaces}{{{{- with .Values.labels }}}}\n{spaces}labels:\n{spaces}  {{{{- toYaml . | nindent {inside} }}}}\n\
             {spaces}{{{{- end }}}}"
        )
    } else {
        // What looks like an action is text.
        line.replace("{{", "{{ \"{{\" }}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_release_become_actions_and_text_stays_text() {
        let manifests = "kind: WasmPlugin\nmetadata: {name: a, namespace: b}\nspec:\n  url: oci://x\n  \
                         pluginConfig: {experiments: [1]}\n---\nkind: Other\nmetadata: {name: c, labels: {k: v}}\nspec: {text: \"{{ x }}\"}\n";
        let chart = templates(manifests).unwrap();
        for line in [
            "  url: {{ .Values.image.url | quote }}",
            "    {{- include \"sidetrack.configuration\" . | nindent 4 }}",
            "  text: \"{{ \"{{\" }} x }}\"",
            "    k: v",
        ] {
            assert!(chart.text.lines().any(|it| it.trim_end() == line), "{line}\n{}", chart.text);
        }
        assert_eq!(chart.image["url"], "oci://x");
        assert_eq!(chart.carrier["name"], "a");
        assert!(templates("kind: Other\nmetadata: {name: c}\n").is_err());
    }
}
