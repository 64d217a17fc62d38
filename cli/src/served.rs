//! A store behind an address: what `sidetrack serve` answers, with the token of its owner.

use std::path::Path;
use std::time::Duration;

use ureq::http::StatusCode;

use crate::fault::Fault;
use crate::http::{agent, is_in_clear, shown, unreachable};

/// How long to wait for a store: it analyzes before it answers.
const ANSWER: Duration = Duration::from_secs(120);
/// The largest answer; predictions are the most.
const LARGEST: u64 = 1 << 30;
/// The variable with the token of a store that needs one.
const TOKEN: &str = "SIDETRACK_STORE_TOKEN";

pub(crate) const HINT: &str =
    "hint: --store must be the address of `sidetrack serve`, such as http://127.0.0.1:8088";

/// An answer.
pub(crate) struct Page {
    /// The address of the store.
    pub(crate) url: String,
    /// The call, for messages.
    pub(crate) call: String,
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

/// Whether --store names a folder, and not an address.
pub(crate) fn is_folder(store: &str) -> bool {
    !store.contains("://") && (store.contains('/') || Path::new(store).is_dir())
}

/// Reads a page of a store.
///
/// # Errors
/// No answer, or a token that others could read on its way.
pub(crate) fn read(url: &str, path: &str) -> anyhow::Result<Page> {
    let url = url.trim_end_matches('/');
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let page = format!("{url}{path}");
    let call = format!("GET {}", shown(&page));
    let failed = |error: ureq::Error| unreachable(&call, &error, HINT);
    let mut request = agent(ANSWER).get(&page);
    if let Ok(token) = std::env::var(TOKEN) {
        request = request.header("authorization", bearer(&url, token.trim())?);
    }
    let mut reply = request.call().map_err(failed)?;
    let status = reply.status();
    let text = reply.body_mut().with_config().limit(LARGEST).read_to_string().map_err(failed)?;
    Ok(Page { url, call, status, text })
}

/// The header with the token of a store.
fn bearer(url: &str, token: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        token.is_empty() || !is_in_clear(url),
        Fault(format!(
            "{} would get the token of {TOKEN} in clear\n  \
             hint: write https://; http:// is for a store of this host, 127.0.0.1",
            shown(url)
        ))
    );
    Ok(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_clear() {
        let error = bearer("http://u:s3cret@store.models:8088", "t").unwrap_err().to_string();
        assert!(error.contains("in clear") && !error.contains("s3cret"), "{error}");
        assert_eq!(bearer("https://store.models:8088", "t").unwrap(), "Bearer t");
        assert_eq!(bearer("http://127.0.0.1:8088", "t").unwrap(), "Bearer t");
    }
}
