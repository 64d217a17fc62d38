//! The values of options that only Istio has.

use anyhow::Context;
use serde_json::Value;

use crate::render::labels::is_label;

pub(super) fn host(text: &str) -> anyhow::Result<String> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let good = text == "*" || rest.split('.').all(is_label);
    anyhow::ensure!(
        good,
        "must be a lower-case host name, optionally with \"*.\" in front, or \"*\""
    );
    Ok(text.to_owned())
}

/// An absolute path.
pub(super) fn module(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        text.starts_with('/')
            && !text.ends_with('/')
            && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "must be an absolute path without spaces, such as /var/lib/sidetrack/sidetrack.wasm"
    );
    Ok(text.to_owned())
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
