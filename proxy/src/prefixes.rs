//! Plugins of one proxy with the same header prefix.
//!
//! Each filter removes its own headers from requests and responses, so two of one prefix in one
//! chain would remove each other's answers. They find each other in the store. From then on, each
//! one marks the requests that it decides, and leaves alone what another one has decided.

use sidetrack::effects::removals;
use sidetrack::names::shared::PREFIXES;

use crate::host::{Exchange, Headers, Host, Level};
use crate::roster;
use crate::runtime::Runtime;

/// Records the header prefix of a plugin, or that the plugin has ended. Logs once if another
/// plugin has the same.
pub(crate) fn replace(host: &impl Host, plugin: &str, prefix: Option<&str>) {
    let own: Vec<String> = prefix.into_iter().map(ToOwned::to_owned).collect();
    if roster::replace(host, PREFIXES, plugin, &own).is_none() {
        return;
    }
    let Some(prefix) = prefix else { return };
    let others = others(host, plugin, prefix);
    if !others.is_empty() {
        let text = format!(
            "{plugin} has the same header prefix {prefix} as {}: in one filter chain, \
             the first of them decides a request and the others let it pass; give each experiment \
             file its own settings.header_prefix",
            others.join(", ")
        );
        host.log(Level::Warning, &text);
    }
}

/// The other plugins with this prefix.
pub(crate) fn others(host: &impl Host, plugin: &str, prefix: &str) -> Vec<String> {
    let rows = roster::rows(host, PREFIXES).into_iter();
    let is_other = |(owner, other): &(String, String)| owner != plugin && other == prefix;
    rows.filter(is_other).map(|(owner, _)| owner).collect()
}

impl<H: Host> Runtime<H> {
    /// Whether another plugin with the same header prefix has decided a request that this one has
    /// not decided.
    #[inline]
    pub(crate) fn is_decided_elsewhere(&self, exchange: &impl Exchange<Host = H>) -> bool {
        self.shares_prefix.get() && exchange.has_filter_state(&self.mark)
    }

    /// Removes the filter's headers that a model sent.
    pub(crate) fn clean_response(&self, exchange: &impl Exchange<Host = H>) {
        if let Some(headers) = exchange.response_headers() {
            self.own_among(&headers).iter().for_each(|it| exchange.remove_response_header(it));
        }
    }

    /// The filter's names, if one of them is among these headers or trailers.
    #[inline(never)]
    pub(crate) fn own_among(&self, headers: &impl Headers) -> &[String] {
        removals(&self.plan.settings.headers, headers.names())
    }
}
