//! WasmPlugin and TrafficExtension, as Envoy's extension discovery gets them.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::{Mesh, Proxy, group, list, only, text};

const WASM: &[&str] = &[
    "url",
    "sha256",
    "imagePullPolicy",
    "imagePullSecret",
    "pluginName",
    "pluginConfig",
    "failStrategy",
    "vmConfig",
];

/// A filter that this proxy gets.
#[derive(Debug)]
pub(super) struct Extension {
    /// The resource's name.
    pub(super) name: String,
    /// `envoy.extensions.wasm.v3.PluginConfig`, without the code.
    plugin: Value,
}

/// The filters of a proxy. None of them has a phase here, so all stand right before the router.
pub(super) fn of(mesh: &Mesh, proxy: &Proxy<'_>) -> Result<Vec<Extension>> {
    let mut extensions = Vec::new();
    for manifest in mesh.of_kind(&["WasmPlugin", "TrafficExtension"]) {
        let spec = &manifest["spec"];
        if proxy.is_meant(manifest) && matches(spec, proxy)? {
            let own = ["selector", "targetRefs", "match"];
            let wasm = if manifest["kind"] == "WasmPlugin" {
                only(spec, &[&own, WASM].concat())?;
                spec
            } else {
                only(spec, &[&own[..], &["wasm"]].concat())?;
                only(&spec["wasm"], WASM)?;
                &spec["wasm"]
            };
            let metadata = &manifest["metadata"];
            let name = format!("{}.{}", text(&metadata["namespace"])?, text(&metadata["name"])?);
            extensions.push(Extension { plugin: plugin(&name, wasm)?, name });
        }
    }
    Ok(extensions)
}

/// Whether any traffic selector holds. A waypoint's listener has the port 0, which no `ports` names.
fn matches(spec: &Value, proxy: &Proxy<'_>) -> Result<bool> {
    let selectors = list(&spec["match"]);
    for selector in selectors {
        only(selector, &["mode"])?;
        if proxy.has_mode(&selector["mode"])? {
            return Ok(true);
        }
    }
    Ok(selectors.is_empty())
}

fn plugin(name: &str, wasm: &Value) -> Result<Value> {
    ensure!(text(&wasm["url"])?.starts_with("oci://"), "the agent fetches {}", wasm["url"]);
    let mut environment = Map::new();
    for variable in list(&wasm["vmConfig"]["env"]) {
        only(variable, &["name", "value"])?;
        environment.insert(text(&variable["name"])?.to_owned(), variable["value"].clone());
    }
    let policy = match &wasm["failStrategy"] {
        Value::Null => "FAIL_CLOSED",
        Value::String(strategy) if strategy == "FAIL_CLOSE" => "FAIL_CLOSED",
        Value::String(strategy) if strategy == "FAIL_OPEN" || strategy == "FAIL_RELOAD" => strategy,
        other => bail!("the fail strategy {other}"),
    };
    let mut plugin = json!({
        "name": name,
        "root_id": wasm["pluginName"],
        "failure_policy": policy,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "environment_variables": {"key_values": environment},
        },
    });
    if group(&wasm["pluginConfig"]).next().is_some() {
        let configuration = through_struct(&wasm["pluginConfig"]).to_string();
        plugin["configuration"] = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration});
    }
    Ok(plugin)
}

/// A configuration after protobuf's Struct, in which every number is a double.
fn through_struct(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(through_struct).collect(),
        Value::Object(keys) => {
            keys.iter().map(|(key, value)| (key.clone(), through_struct(value))).collect()
        }
        other => other.clone(),
    }
}

impl Extension {
    /// The resource as the agent passes it on: the code is a file by now.
    pub(super) fn discovery(&self, wasm: &Path) -> Value {
        let mut plugin = self.plugin.clone();
        plugin["vm_config"]["code"] = json!({"local": {"filename": wasm}});
        json!({"resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.name,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": plugin,
            },
        }]})
    }
}
