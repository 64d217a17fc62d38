//! The names that Kubernetes accepts.

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
