//! Repeated headers that Envoy joins with a comma before any filter sees them.
//!
//! Envoy keeps these request headers as single values, and repeated values of all others apart. The
//! list is that of Envoy 1.36 to 1.40; a test compares it with the real one.

/// The names, sorted.
const JOINED: [&str; 37] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Whether Envoy joins repeated values of this header; the name is lower case.
pub(super) fn is_joined(name: &str) -> bool {
    JOINED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_as_its_search_requires() {
        assert!(JOINED.is_sorted());
        assert!(is_joined("accept") && is_joined("x-request-id") && !is_joined("x-user-id"));
    }
}
