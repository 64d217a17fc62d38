//! Experiments inside a manifest: what `pluginConfig` holds in a WasmPlugin or TrafficExtension, `config` in an
//! EnvoyExtensionPolicy, and the text of the filter's configuration in an EnvoyFilter.
//!
//! So that `sidetrack check` and `sidetrack plan` can be asked about what is in a repository or a cluster, such as the
//! output of `kubectl get wasmplugin -o yaml` or `kubectl kustomize`, without anybody cutting pieces out of it. A file
//! that is not a manifest is not touched.

use sidetrack::config::Node;

use crate::yaml;

/// A kind of object that brings the filter and carries its experiments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The resource, as kubectl takes it.
    pub(crate) resource: &'static str,
    /// Where the configuration is; `*` is every item of a list, and `**` everything inside, at any depth.
    path: &'static [&'static str],
}

/// All of them.
pub(crate) static KINDS: [Kind; 4] = [
    Kind {
        name: "WasmPlugin",
        resource: "wasmplugins.extensions.istio.io",
        path: &["spec", "pluginConfig"],
    },
    Kind {
        name: "TrafficExtension",
        resource: "trafficextensions.extensions.istio.io",
        path: &["spec", "wasm", "pluginConfig"],
    },
    Kind {
        name: "EnvoyFilter",
        resource: "envoyfilters.networking.istio.io",
        // A StringValue: how deep it is depends on the patch.
        path: &["spec", "configPatches", "**", "value"],
    },
    Kind {
        name: "EnvoyExtensionPolicy",
        resource: "envoyextensionpolicies.gateway.envoyproxy.io",
        path: &["spec", "wasm", "*", "config"],
    },
];

/// The experiments of a stream of manifests; `None` when the text is none.
///
/// # Errors
///
/// If there are manifests, but not exactly one with experiments.
pub(crate) fn experiments(text: &str) -> Option<Result<Node, String>> {
    // A cheap check for all files: experiment files have no key of this name.
    if !text
        .lines()
        .any(|line| line.starts_with("apiVersion:") || line.starts_with("\"apiVersion\""))
    {
        return None;
    }
    let documents: Vec<Node> = yaml::read_all(text).ok()?;
    let mut manifests = Vec::new();
    for document in &documents {
        match document.get("kind") {
            Some(Node::Text(kind)) if kind == "List" => {
                if let Some(Node::List(items)) = document.get("items") {
                    manifests.extend(items);
                }
            }
            Some(_) => manifests.push(document),
            None => return None,
        }
    }
    let found: Vec<Node> = manifests.into_iter().flat_map(of).collect();
    Some(match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let kinds = KINDS.map(|kind| kind.name).join(", ");
            Err(format!("none of its manifests has experiments; expected one of: {kinds}"))
        }
        several => {
            Err(format!("{} of its manifests have experiments; one is allowed", several.len()))
        }
    })
}

/// The configurations with experiments that a manifest carries.
pub(crate) fn of(manifest: &Node) -> Vec<Node> {
    let Some(Node::Text(name)) = manifest.get("kind") else { return Vec::new() };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else { return Vec::new() };
    let mut found = vec![manifest];
    for key in kind.path {
        found = match *key {
            "*" => found.into_iter().flat_map(items).collect(),
            "**" => found.into_iter().flat_map(inside).collect(),
            key => found.into_iter().filter_map(|node| node.get(key)).collect(),
        };
    }
    let mut configurations: Vec<Node> = Vec::new();
    for configuration in found.into_iter().filter_map(configuration) {
        if !configurations.contains(&configuration) {
            configurations.push(configuration);
        }
    }
    configurations
}

/// A tree with experiments, or a text that was meant as one.
fn configuration(node: &Node) -> Option<Node> {
    let Node::Text(text) = node else {
        return node.get("experiments").map(|_| node.clone());
    };
    if !text.trim_start().starts_with('{') || !text.contains("\"experiments\"") {
        return None;
    }
    // What is not JSON stays a text, which the schema reports.
    Some(serde_json::from_str(text).unwrap_or_else(|_| node.clone()))
}

fn items(node: &Node) -> &[Node] {
    match node {
        Node::List(items) => items,
        _ => &[],
    }
}

/// A node and everything inside it.
fn inside(node: &Node) -> Vec<&Node> {
    let mut all = vec![node];
    match node {
        Node::List(items) => all.extend(items.iter().flat_map(inside)),
        Node::Map(entries) => all.extend(entries.iter().flat_map(|(_, value)| inside(value))),
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginConfig:\n    experiments: [1]\n";
    const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\n";

    #[test]
    fn the_one_with_experiments_is_found_among_others() {
        for text in [
            PLUGIN.to_owned(),
            format!("{OTHER}---\n{PLUGIN}"),
            format!("apiVersion: v1\nkind: List\nitems:\n- {}", PLUGIN.replace('\n', "\n  ")),
            "apiVersion: a/v1\nkind: TrafficExtension\nspec: {wasm: {pluginConfig: {experiments: [1]}}}"
                .to_owned(),
            "apiVersion: a/v1\nkind: EnvoyFilter\nspec: {configPatches: [{patch: {value: {name: x}}}, {patch: {value: {typed_config: \
             {config: {configuration: {value: '{\"experiments\": [1]}'}, x: {value: '1'}}}}}}]}"
                .to_owned(),
            "apiVersion: a/v1\nkind: EnvoyExtensionPolicy\nspec: {wasm: [{config: {}}, {config: {experiments: [1]}}]}"
                .to_owned(),
        ] {
            let found = experiments(&text).unwrap().unwrap();
            assert_eq!(
                found.get("experiments"),
                Some(&Node::List(vec![Node::Number("1".to_owned())])),
                "{text}"
            );
        }
    }

    #[test]
    fn none_and_two_are_mistakes_and_other_files_are_left_alone() {
        assert!(experiments(OTHER).unwrap().is_err());
        assert!(experiments(&format!("{PLUGIN}---\n{PLUGIN}")).unwrap().is_err());
        let torn = "apiVersion: a/v1\nkind: EnvoyFilter\nspec: {configPatches: [{value: '{\"experiments\": [1'}]}\n";
        assert_eq!(
            experiments(torn).unwrap(),
            Ok(Node::Text("{\"experiments\": [1".to_owned())),
            "a mistake in the text is reported"
        );
        assert_eq!(experiments("experiments: []"), None);
        assert_eq!(experiments("apiVersion: v1\nexperiments: []"), None);
        assert_eq!(experiments("apiVersion: [\n"), None);
    }
}
