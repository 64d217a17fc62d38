//! Addresses as options write them: `HOST:PORT`, and `CLUSTER=HOST:PORT`.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;

/// A host and a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, port) = text.rsplit_once(':').context("expected HOST:PORT")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        anyhow::ensure!(!host.is_empty(), "the host is missing; expected HOST:PORT");
        let port = port.parse().ok().context("the port must be a number from 0 to 65535")?;
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// An address of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) cluster: String,
    pub(crate) address: Address,
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (cluster, address) = text.split_once('=').context("expected CLUSTER=HOST:PORT")?;
        Ok(Self { cluster: cluster.to_owned(), address: address.parse()? })
    }
}
