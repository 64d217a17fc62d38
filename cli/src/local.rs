//! An Envoy on this machine, for `demo` and `run`: its program, its ports, its start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::ensure;
use sidetrack_lab::{Envoy, EnvoyBinary, EnvoyOptions, first_free_port};

/// The ports that are tried first, as in the quick start.
const PORT: u16 = 10_000;
const ADMIN_PORT: u16 = 9901;

/// How often a start is repeated after another process took the chosen port.
const START_ATTEMPTS: u32 = 3;

/// The name of the listener in the rendered bootstrap.
const LISTENER: &str = "predictors";

/// Where Envoy is, and where it listens.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The Envoy program [default: ENVOY_PATH, the one that `make setup` fetches, or on PATH]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Worker threads of Envoy
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Port of Envoy on 127.0.0.1, 0 for any free one [default: 10000, or the next free port]
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// Address and port of Envoy instead of --port
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Address and port of Envoy's admin interface [default: 127.0.0.1:9901, or the next free port]
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
}

/// An address for Envoy to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bind {
    /// This address; port 0 is any free one.
    Exact(SocketAddr),
    /// This address, or the next free port.
    FirstFree(SocketAddr),
}

/// A running Envoy.
pub(crate) struct Local {
    pub(crate) envoy: Envoy,
    /// Its release.
    pub(crate) version: String,
    /// The address of its listener, as this machine reaches it.
    pub(crate) addr: SocketAddr,
}

impl Options {
    /// The Envoy program.
    ///
    /// # Errors
    ///
    /// If there is none, with how to install one.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        let Some(path) = &self.envoy else { return EnvoyBinary::find() };
        ensure!(path.is_file(), "--envoy is {}, which is not a file", path.display());
        Ok(path.clone())
    }

    /// The same, with the ports that an Envoy had before.
    pub(crate) fn on_ports_of(&self, local: &Local) -> Self {
        let mut listen = self.listen.unwrap_or(local.addr);
        listen.set_port(local.addr.port());
        Self {
            listen: Some(listen),
            port: None,
            admin: Some(local.envoy.admin_addr()),
            ..self.clone()
        }
    }

    /// Whether the listener is on all addresses of this machine.
    pub(crate) fn is_on_all_addresses(&self) -> bool {
        self.listen.is_some_and(|addr| addr.ip().is_unspecified())
    }

    fn bind(&self) -> Bind {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match (self.listen, self.port) {
            (Some(addr), _) => Bind::Exact(addr),
            (None, Some(port)) => Bind::Exact(local(port)),
            (None, None) => Bind::FirstFree(local(PORT)),
        }
    }

    fn bind_admin(&self) -> Bind {
        let default = Bind::FirstFree(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)));
        self.admin.map_or(default, Bind::Exact)
    }
}

impl Bind {
    fn resolve(self) -> anyhow::Result<SocketAddr> {
        match self {
            // Envoy sets SO_REUSEPORT: without this test, two Envoys would share the port.
            Self::Exact(addr) => match TcpListener::bind(addr) {
                Ok(_) => Ok(addr),
                Err(error) => anyhow::bail!(
                    "cannot listen on {addr}: {error}\n  hint: choose another port, or 0 for any free one"
                ),
            },
            Self::FirstFree(addr) => {
                Ok(SocketAddr::new(addr.ip(), first_free_port(addr.ip(), addr.port())?))
            }
        }
    }

    const fn ip(self) -> IpAddr {
        match self {
            Self::Exact(addr) | Self::FirstFree(addr) => addr.ip(),
        }
    }
}

impl Local {
    /// Starts Envoy with the bootstrap for these addresses of listener and admin interface, and returns when it is
    /// ready.
    pub(crate) async fn start(
        args: &Options,
        bootstrap: impl Fn(SocketAddr, SocketAddr) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let program = args.program()?;
        let (listen, admin) = (args.bind(), args.bind_admin());
        let mut attempt = 1;
        loop {
            let bootstrap = bootstrap(listen.resolve()?, admin.resolve()?)?;
            let mut options = EnvoyOptions::new(program.clone(), bootstrap);
            options.concurrency = args.workers;
            // The default flush interval of the access log is 10 s, and connections drain for 10 minutes.
            options.extra_args = ["--file-flush-interval-msec", "500", "--drain-time-s", "5"]
                .map(String::from)
                .to_vec();
            match Self::started(options, listen.ip()).await {
                Err(error)
                    if attempt < START_ATTEMPTS && format!("{error:#}").contains("cannot bind") =>
                {
                    attempt += 1;
                }
                started => return started,
            }
        }
    }

    async fn started(options: EnvoyOptions, ip: IpAddr) -> anyhow::Result<Self> {
        let envoy = Envoy::start(options).await?;
        let addr = reachable(ip, envoy.listener_port(LISTENER).await?);
        let version = envoy.version().await?.unwrap_or_default();
        Ok(Self { envoy, version, addr })
    }
}

/// The address at which a listener on all addresses is reached from this machine.
const fn reachable(ip: IpAddr, port: u16) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, port)
}
