//! The values of options: names, hosts, labels and digests that Kubernetes and Istio accept.

use anyhow::Context;
use sidetrack::names::plugin;
use sidetrack::plan::Plan;

use super::destination;

pub(in crate::render) fn name(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(destination::is_label(text), "must be {}", destination::LABEL);
    Ok(text.to_owned())
}

pub(super) fn host(text: &str) -> anyhow::Result<String> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let good = text == "*" || rest.split('.').all(destination::is_label);
    anyhow::ensure!(
        good,
        "must be a lower-case host name, optionally with \"*.\" in front, or \"*\""
    );
    Ok(text.to_owned())
}

pub(super) fn label_key(text: &str) -> anyhow::Result<String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    anyhow::ensure!(
        !text.is_empty() && text.bytes().all(inside),
        "must consist of letters, digits, '-', '_', '.' and '/'"
    );
    Ok(text.to_owned())
}

pub(super) fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (label, value) = text.split_once('=').context("expected LABEL=VALUE")?;
    Ok((label_key(label)?, label_key(value)?))
}

pub(super) fn gateway(text: &str) -> anyhow::Result<String> {
    let parts = text.split('/').map(destination::is_label).collect::<Vec<_>>();
    anyhow::ensure!(parts == [true, true], "expected NAMESPACE/NAME");
    Ok(text.to_owned())
}

pub(super) fn waypoint(text: &str) -> anyhow::Result<(String, String)> {
    let (namespace, name) = text.split_once('/').context("expected NAMESPACE/NAME")?;
    gateway(text)?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// The name of the resources for these experiments. Two teams have two files, so their resources differ in name.
pub(super) fn name_of(plan: &Plan) -> String {
    let first = plan.experiments.first().map_or("", |experiment| experiment.name.as_str());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{}-{first}", plugin::NAME).chars().map(plain).take(63).collect();
    name.trim_end_matches('-').to_owned()
}

pub(super) fn sha256(text: &str) -> anyhow::Result<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(hex, "must have 64 hexadecimal digits");
    Ok(text)
}
