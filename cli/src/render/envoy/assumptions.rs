//! What the bootstrap assumes where no option says otherwise, as comments at its top.

use super::clusters::Cluster;
use super::{CA_FILE, Options};

/// The assumptions to check before Envoy starts, as sentences.
pub(super) fn all(options: &Options, default: &str, clusters: &[Cluster]) -> Vec<String> {
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
    if clusters.iter().any(Cluster::is_tls) && options.ca_file.as_os_str() == CA_FILE {
        checks.push(format!(
            "{CA_FILE} has the certificate authorities of the models. Set another file with --ca-file."
        ));
    }
    if options.default_cluster.is_none() {
        checks.push(format!(
            "Requests that match no experiment belong to {default}. Choose another cluster with --default-cluster."
        ));
    }
    let wasm = &options.wasm;
    checks.push(if wasm.starts_with('/') {
        format!("The filter's module is {wasm} where Envoy runs.")
    } else {
        format!("The filter's module is {wasm}, relative to the directory in which Envoy starts.")
    });
    checks
}
