//! The values of options: names, hosts, labels and digests that Kubernetes and Istio accept.

use anyhow::Context;
use serde_json::Value;
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

pub(super) fn claim(text: &str) -> anyhow::Result<(String, String)> {
    let (claim, value) = text.split_once('=').context("expected CLAIM=VALUE")?;
    anyhow::ensure!(
        !claim.is_empty() && !claim.contains(['[', ']']) && !value.is_empty(),
        "expected CLAIM=VALUE, such as groups=testers"
    );
    Ok((claim.to_owned(), value.to_owned()))
}

/// Istio compares it with the identity in the certificate, without its scheme.
pub(super) fn principal(text: &str) -> anyhow::Result<String> {
    let text = text.strip_prefix("spiffe://").unwrap_or(text);
    anyhow::ensure!(
        text.split('/').count() >= 5 || text.contains('*'),
        "expected an identity such as cluster.local/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
    );
    Ok(text.to_owned())
}

/// The JSON Web Key Set in a file.
pub(super) fn key_set(path: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).context("cannot be read")?;
    let set: Value = serde_json::from_str(&text).context("is not JSON")?;
    anyhow::ensure!(
        set.get("keys").is_some_and(Value::is_array),
        "is not a JSON Web Key Set, which begins with {{\"keys\": ["
    );
    Ok(set.to_string())
}
