//! Names, labels and digests that Kubernetes accepts, as values of options.

use anyhow::{Context, ensure};
use sidetrack::names::plugin;
use sidetrack::plan::Plan;

/// The rule of [`is_label`], for messages.
pub(super) const LABEL: &str = "1 to 63 lower-case letters, digits and '-', not '-' first or last";

/// Whether Kubernetes and Istio accept this as the name of a service or of a subset.
pub(super) fn is_label(text: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// The name of a resource.
pub(super) fn name(text: &str) -> anyhow::Result<String> {
    ensure!(is_label(text), "must be {LABEL}");
    Ok(text.to_owned())
}

/// The name of the resources for these experiments. Two teams have two files, so their resources differ in name.
pub(super) fn name_of(plan: &Plan) -> String {
    let first = plan.experiments.first().map_or("", |experiment| experiment.name.as_str());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{}-{first}", plugin::NAME).chars().map(plain).take(63).collect();
    name.trim_end_matches('-').to_owned()
}

/// `NAMESPACE/NAME`.
pub(super) fn namespaced(text: &str) -> anyhow::Result<(String, String)> {
    let (namespace, name) = text.split_once('/').context("expected NAMESPACE/NAME")?;
    ensure!(is_label(namespace) && is_label(name), "expected NAMESPACE/NAME, each of {LABEL}");
    Ok((namespace.to_owned(), name.to_owned()))
}

/// `LABEL=VALUE`.
pub(super) fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (label, value) = text.split_once('=').context("expected LABEL=VALUE")?;
    ensure!(value.is_empty() || is_label_value(value), "the value must be empty, or {LABEL_VALUE}");
    Ok((label_key(label)?, value.to_owned()))
}

/// The key of a label.
pub(super) fn label_key(text: &str) -> anyhow::Result<String> {
    let (domain, name) =
        text.split_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| domain.len() <= 253 && domain.split('.').all(is_label);
    ensure!(
        is_label_value(name) && domain.is_none_or(is_domain),
        "the label must be {LABEL_VALUE}, optionally with a domain and \"/\" in front"
    );
    Ok(text.to_owned())
}

const LABEL_VALUE: &str =
    "1 to 63 letters, digits, '-', '_' and '.', with a letter or digit first and last";

fn is_label_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// The digest of an image or a file.
pub(super) fn sha256(text: &str) -> anyhow::Result<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(hex, "must have 64 hexadecimal digits");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_kubernetes() {
        for good in ["a=b", "app.kubernetes.io/part-of=A_b.c", "empty=", "A=1"] {
            assert!(label(good).is_ok(), "{good}");
        }
        let long = format!("a={}", "x".repeat(64));
        for bad in ["a", "=b", "a=b/c", "a=-b", "a/b/c=d", "A.b/c=d", "/a=b", "a=b c", &long] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
