//! What the configuration assumes where no option says otherwise, and what its pieces need from the
//! configuration around them: comments at the top.

use super::clusters::Cluster;
use super::fragment::Fragment;
use super::{CA_FILE, Options};

/// What the assumptions depend on besides the options.
pub(super) struct Facts<'a> {
    pub(super) default: &'a str,
    pub(super) clusters: &'a [Cluster],
    /// The buffer that the listener must have, in bytes.
    pub(super) buffer: Option<u64>,
    /// The buffer that the virtual host must have for bodies that the filter waits for, in bytes.
    pub(super) held: Option<u64>,
    /// The experiments whose requests no route recognizes without the filter, and their baselines.
    pub(super) without_fallback: Vec<(&'a str, &'a str)>,
}

/// The assumptions to check before Envoy starts, as sentences: those of the bootstrap, or of a
/// piece.
pub(super) fn all(options: &Options, facts: &Facts<'_>, piece: Option<Fragment>) -> Vec<String> {
    match piece {
        None => {
            let mut checks = of_clusters(options, facts.clusters);
            checks.extend(of_default(options, facts.default));
            checks.push(of_module(&options.wasm));
            checks
        }
        Some(Fragment::Clusters) => of_clusters(options, facts.clusters),
        Some(Fragment::Filter) => of_filter(options, facts),
        Some(Fragment::AccessLog) => {
            let joins = "The connection manager has `always_set_request_id_in_response: true`, so \
                         that clients can report outcomes by request id.";
            vec![of_module(&options.wasm), joins.to_owned()]
        }
        Some(Fragment::Routes) => of_routes(options, facts),
        Some(Fragment::Guard | Fragment::StatsTags | Fragment::Traces) => Vec::new(),
    }
}

fn of_clusters(options: &Options, clusters: &[Cluster]) -> Vec<String> {
    let mut checks = Vec::new();
    let named = |wanted: &dyn Fn(&&Cluster) -> bool| {
        let found = clusters.iter().filter(wanted);
        found.map(|cluster| cluster.selected.as_str()).collect::<Vec<_>>().join(", ")
    };
    let guessed = named(&|cluster| !cluster.is_given);
    if !guessed.is_empty() {
        checks.push(format!(
            "The name of each of these clusters resolves to its model, on port 8080, without TLS: {guessed}. Set other \
             addresses with --endpoint."
        ));
    }
    let http1 = named(&|cluster| cluster.is_http1());
    if !http1.is_empty() {
        checks.push(format!(
            "These clusters speak HTTP/1.1, whatever the client speaks: {http1}. gRPC requires grpc:// in --endpoint, or \
             --upstream-protocol http2."
        ));
    }
    let is_tls = clusters.iter().any(Cluster::is_tls) || options.otlp_tls;
    if is_tls && options.ca_file.as_os_str() == CA_FILE {
        checks.push(format!(
            "{CA_FILE} has the certificate authorities of all TLS endpoints. Set another file with --ca-file."
        ));
    }
    checks
}

fn of_default(options: &Options, default: &str) -> Option<String> {
    options.default_cluster.is_none().then(|| {
        format!("Requests that match no experiment belong to {default}. Choose another cluster with --default-cluster.")
    })
}

fn of_module(wasm: &str) -> String {
    if wasm.starts_with('/') {
        format!("The filter's module is {wasm} where Envoy runs.")
    } else {
        format!("The filter's module is {wasm}, relative to the directory in which Envoy starts.")
    }
}

fn of_filter(options: &Options, facts: &Facts<'_>) -> Vec<String> {
    let mut checks = vec![of_module(&options.wasm)];
    if let Some(path) = &options.watch {
        checks.push(format!(
            "{} exists: the same options with --filter-only instead of --fragment write it.",
            path.display()
        ));
    }
    checks.push(
        "All routes remove the filter's headers from responses, those of this configuration as well. Otherwise remove \
         SIDETRACK_ROUTES_CLEAN here and in the access log."
            .to_owned(),
    );
    if let Some(held) = facts.held {
        checks.push(format!(
            "The virtual host has `request_body_buffer_limit: {held}`. With a smaller buffer, Envoy answers 413 to some \
             requests whose bodies the filter reads."
        ));
    }
    checks
}

fn of_routes(options: &Options, facts: &Facts<'_>) -> Vec<String> {
    let mut checks = Vec::new();
    for (experiment, baseline) in &facts.without_fallback {
        checks.push(format!(
            "Without the filter, your own routes lead the requests of {experiment} to {baseline}. A route cannot read \
             `match.body`, so there is none here."
        ));
    }
    if options.failover.is_some() {
        checks.push(
            "The virtual host has `include_request_attempt_count: true`. Without it, the baseline gets the candidate's \
             headers on the second attempt."
                .to_owned(),
        );
        if let Some(buffer) = facts.buffer {
            checks.push(format!(
                "The listener has `per_connection_buffer_limit_bytes: {buffer}`. Requests with bodies above this limit \
                 are not retried."
            ));
        }
    }
    if options.upgrade.iter().any(|protocol| protocol == "websocket") {
        checks.push(
            "The connection manager has `http2_protocol_options: { allow_connect: true }`, which WebSockets over HTTP/2 \
             need."
                .to_owned(),
        );
    }
    if options.lean {
        checks.push(
            "The route configuration has `most_specific_header_mutations_wins: true` if it removes the filter's headers \
             from responses. Otherwise, it removes those that these routes add."
                .to_owned(),
        );
    }
    checks
}
