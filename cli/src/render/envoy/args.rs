//! The command line of `render envoy`.

use std::io::Write;
use std::path::PathBuf;

use super::address::{Address, Endpoint};
use super::{Failover, Options, bootstrap, filter};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;

/// Write a complete Envoy bootstrap: the filter, routes and clusters of an experiment file
///
/// A request without a decision from the filter takes the baseline's route. To check the result,
/// run `envoy --mode validate -c FILE`.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack render envoy experiment.yaml --endpoint baseline=127.0.0.1:9001 \\\n    \
                        --endpoint enhanced=127.0.0.1:9002 > envoy.yaml"
)]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The path of the filter's module, as Envoy opens it
    #[arg(long, value_name = "PATH", default_value = "dist/sidetrack.wasm")]
    wasm: String,
    /// An address of a cluster; may be repeated [default: the cluster's name, resolved by DNS,
    /// port 8080]
    #[arg(long, value_name = "CLUSTER=HOST:PORT")]
    endpoint: Vec<Endpoint>,
    /// The cluster for requests that match no experiment [default: the baseline of the first
    /// experiment]
    #[arg(long, value_name = "CLUSTER")]
    default_cluster: Option<String>,
    /// The address and port to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:10000")]
    listen: Address,
    /// The address and port of Envoy's admin interface
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Read the filter's configuration from this file and follow its changes, instead of an inline
    /// configuration
    #[arg(long, value_name = "PATH")]
    watch: Option<PathBuf>,
    /// Write only the filter's configuration: the file for --watch. Repeat the options of the
    /// bootstrap, because the filter depends on them
    #[arg(long, requires = "watch")]
    filter_only: bool,
    /// Retry requests that fail at a candidate on the baseline. Requires variants with clusters, and
    /// models for which processing a request twice is harmless
    #[arg(long)]
    failover: bool,
    /// With --failover, retry only requests with these methods
    #[arg(long, value_name = "METHOD", value_delimiter = ',', requires = "failover")]
    failover_methods: Vec<String>,
    /// With --failover, the largest request body, in bytes, that is buffered for the retry
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1..))]
    failover_buffer: u32,
    /// Let Envoy's routes add the experiment and variant headers, which costs less than in the
    /// filter. Requires variants without clusters and with unique names
    #[arg(long, conflicts_with = "failover")]
    lean: bool,
    /// The path of the access log
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout")]
    access_log: String,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            wasm: self.wasm.clone(),
            endpoint: self.endpoint.clone(),
            default_cluster: self.default_cluster.clone(),
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            watch: self.watch.clone(),
            failover: self.failover.then(|| Failover {
                methods: self.failover_methods.clone(),
                buffer: self.failover_buffer,
            }),
            lean: self.lean,
            access_log: self.access_log.clone(),
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let options = args.options();
    let text = if args.filter_only {
        filter(&loaded.plan, &loaded.node, &options)?
    } else {
        bootstrap(&loaded.plan, &loaded.node, &options)?
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}
