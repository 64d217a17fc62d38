//! The addresses of the services: each cluster of the file has one, and what they refuse at the start.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use sidetrack::plan::Plan;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::render::{Address, Endpoint, Options, cluster_names};

/// The limit for a service to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// The certificate authorities of the system: Debian, Fedora, macOS and Alpine, SUSE.
const CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// The options of the proxy with the endpoints of the clusters in the file.
///
/// # Errors
///
/// If a cluster has no endpoint, or an endpoint belongs to no cluster.
pub(super) fn options(
    options: &Options,
    endpoints: &[Endpoint],
    plan: &Plan,
) -> anyhow::Result<Options> {
    let mut options = options.clone();
    if !options.ca_file.exists()
        && let Some(found) = CA_FILES.iter().find(|path| std::path::Path::new(path).exists())
    {
        options.ca_file = found.into();
    }
    let names: Vec<String> = cluster_names(plan, &options).into_iter().map(str::to_owned).collect();
    let stray = endpoints.iter().find(|endpoint| !names.contains(&endpoint.cluster));
    if let Some(stray) = stray {
        anyhow::bail!(
            "--endpoint: unknown cluster \"{}\"; expected one of: {}",
            stray.cluster.escape_default(),
            names.join(", ")
        );
    }
    options.endpoint = endpoints.to_vec();
    covered(&options, plan)?;
    Ok(options)
}

/// The same options for another version of the file: endpoints that it does not name are left out.
///
/// # Errors
///
/// If a cluster has no endpoint.
pub(super) fn adapted(
    options: &Options,
    endpoints: &[Endpoint],
    plan: &Plan,
) -> anyhow::Result<Options> {
    let mut options = options.clone();
    let names: Vec<String> = cluster_names(plan, &options).into_iter().map(str::to_owned).collect();
    let known = endpoints.iter().filter(|endpoint| names.contains(&endpoint.cluster));
    options.endpoint = known.cloned().collect();
    covered(&options, plan)?;
    Ok(options)
}

/// An address on which the run itself listens.
pub(super) struct Own {
    pub(super) what: &'static str,
    pub(super) option: &'static str,
    pub(super) addr: SocketAddr,
    /// On all addresses of this machine.
    pub(super) everywhere: bool,
}

impl Own {
    fn is(&self, endpoint: SocketAddr) -> bool {
        let ip = endpoint.ip();
        let is_here = |ip: IpAddr| TcpListener::bind((ip, 0)).is_ok();
        endpoint.port() == self.addr.port()
            && (ip == self.addr.ip() || ip.is_unspecified() || (self.everywhere && is_here(ip)))
    }
}

/// Refuses an endpoint at which the run itself listens: requests would go round in circles.
///
/// # Errors
///
/// The first such endpoint.
pub(super) async fn refuse_own(endpoints: &[Endpoint], all: &[Own]) -> anyhow::Result<()> {
    for Endpoint { cluster, address, .. } in endpoints {
        // A name without an address is reported as a service that does not accept connections.
        let found = lookup_host((address.host.as_str(), address.port)).await;
        for endpoint in found.into_iter().flatten() {
            if let Some(Own { what, option, .. }) = all.iter().find(|own| own.is(endpoint)) {
                anyhow::bail!(
                    "--endpoint: {cluster} is {endpoint}, where {what} of this run listens\n  hint: name \
                     the address of your service, or choose another port with {option}"
                );
            }
        }
    }
    Ok(())
}

fn covered(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let given = |name: &&&str| options.endpoint.iter().any(|endpoint| endpoint.cluster == ***name);
    let names = cluster_names(plan, options);
    let missing: Vec<&str> = names.iter().filter(|name| !given(name)).copied().collect();
    anyhow::ensure!(
        missing.is_empty(),
        "these clusters have no address: {}\n  hint: add {}",
        missing.join(", "),
        missing
            .iter()
            .map(|name| format!("--endpoint {name}=HOST:PORT"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    Ok(())
}

/// The endpoints that do not accept connections now, as sentences. They may start later.
pub(super) async fn unreachable(endpoints: &[Endpoint]) -> Vec<String> {
    let mut warnings = Vec::new();
    for Endpoint { cluster, address, .. } in endpoints {
        let Address { host, port } = address;
        let why = match timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => sidetrack_analysis::in_words(&error).to_string(),
            Err(_) => format!("no answer within {} s", CONNECT.as_secs()),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        warnings.push(format!(
            "{cluster} does not accept connections at {host}:{port}: {why}. Its requests fail until it does."
        ));
    }
    warnings
}
