//! InferenceServices and LLMInferenceServices of KServe, as far as an experiment needs them.
//!
//! `spec.canary` is the list of KServe 0.20, for Standard mode. `canaryTrafficPercent` is the older
//! field, which works in Knative mode only.

use anyhow::{bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::fault::Fault;
use crate::pointer::{list, number, text};

/// How KServe deploys a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Deployments and Services, formerly `RawDeployment`
    Standard,
    /// Knative, formerly `Serverless`
    Knative,
}

/// The protocol of the predictor, which determines the path of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// `/v1/models/NAME:predict`
    V1,
    /// `/v2/models/NAME/infer`, the Open Inference Protocol
    V2,
}

/// An InferenceService or LLMInferenceService.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// A model server with the pool of an endpoint picker.
    pub(super) is_llm: bool,
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    /// The name of the predictor, which follows that of the service.
    pub(super) predictor: Option<String>,
    /// A transformer, which calls the predictor by itself.
    pub(super) has_transformer: bool,
    /// Name and percentage of each entry of `spec.canary`.
    pub(super) canaries: Vec<(String, u64)>,
    /// `spec.predictor.canaryTrafficPercent`.
    pub(super) percent: Option<u64>,
    /// Whether Knative gives the revisions host names of their own.
    pub(super) has_tags: bool,
    /// The host of `status.url`.
    pub(super) host: Option<String>,
    /// The group of services that share a route, and the weight in it.
    pub(super) group: Option<String>,
    pub(super) weight: Option<u64>,
}

/// The services of a stream of manifests, in its order.
pub(super) fn services(documents: Vec<Value>) -> anyhow::Result<Vec<Service>> {
    let mut manifests = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) if text(&document, "/kind").ends_with("List") => {
                manifests.extend(items.clone());
            }
            _ => manifests.push(document),
        }
    }
    let mut services = Vec::new();
    for manifest in &manifests {
        services.push(service(manifest)?);
    }
    ensure!(!services.is_empty(), Fault("the file has no manifests".to_owned()));
    Ok(services)
}

fn service(manifest: &Value) -> anyhow::Result<Service> {
    let (api, kind) = (text(manifest, "/apiVersion"), text(manifest, "/kind"));
    let is_llm = match (api.split('/').next(), kind) {
        (Some("serving.kserve.io"), "InferenceService") => false,
        (Some("serving.kserve.io"), "LLMInferenceService") => true,
        _ => {
            let hint = if manifest.get("experiments").is_some() {
                "\n  hint: this is already an experiment file"
            } else {
                "\n  hint: kubectl get inferenceservice NAME -o yaml"
            };
            bail!(Fault(format!(
                "found apiVersion \"{api}\", kind \"{kind}\"; expected an InferenceService or LLMInferenceService of \
                 serving.kserve.io{hint}"
            )));
        }
    };
    let name = text(manifest, "/metadata/name").to_owned();
    ensure!(!name.is_empty(), Fault(format!("the {kind} has no metadata.name")));
    let mut canaries = Vec::new();
    for (i, canary) in list(manifest, "/spec/canary").iter().enumerate() {
        let of = text(canary, "/predictor/name");
        let percent = number(canary, "/trafficPercent").unwrap_or(0);
        ensure!(
            !of.is_empty() && percent <= 100,
            Fault(format!(
                "spec.canary[{i}] of {name} needs predictor.name, and trafficPercent from 0 to 100"
            ))
        );
        canaries.push((of.to_owned(), percent));
    }
    // "~1" is a slash in a JSON Pointer.
    let written =
        ["/metadata/annotations/serving.kserve.io~1deploymentMode", "/status/deploymentMode"];
    let mode = written.into_iter().find_map(|mode| match text(manifest, mode) {
        "Standard" | "RawDeployment" => Some(Mode::Standard),
        "Knative" | "Serverless" => Some(Mode::Knative),
        _ => None,
    });
    let protocol = match text(manifest, "/spec/predictor/model/protocolVersion") {
        "v1" => Some(Protocol::V1),
        "v2" => Some(Protocol::V2),
        _ => None,
    };
    let namespace = text(manifest, "/metadata/namespace");
    let predictor_name = text(manifest, "/spec/predictor/name");
    let url = text(manifest, "/status/url");
    let host = url.split_once("://").map(|(_, rest)| rest.split(['/', ':']).next().unwrap_or(rest));
    let group = text(manifest, "/spec/router/route/group");
    let tags = text(manifest, "/metadata/annotations/serving.kserve.io~1enable-tag-routing");
    Ok(Service {
        name,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        is_llm,
        mode,
        protocol,
        predictor: (!predictor_name.is_empty()).then(|| predictor_name.to_owned()),
        has_transformer: manifest.pointer("/spec/transformer").is_some_and(|it| !it.is_null()),
        canaries,
        percent: number(manifest, "/spec/predictor/canaryTrafficPercent"),
        has_tags: tags == "true",
        host: host.map(ToOwned::to_owned),
        group: (!group.is_empty()).then(|| group.to_owned()),
        weight: number(manifest, "/spec/router/route/weight"),
    })
}
