//! The command line of `render envoy`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use sidetrack::quantity::{Millis, bytes};

use super::address::{Address, Endpoint};
use super::fragment::Fragment;
use super::{CA_FILE, Failover, Options, bootstrap, filter, protocol};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::{Ink, Out};
use crate::package::Module;
use crate::words::visible;
use crate::wrap;

/// Write a complete Envoy bootstrap: the filter, routes and clusters of an experiment file
///
/// A request without a decision from the filter takes the baseline's route. Values that no option
/// sets are guessed. A comment at the top of the output lists the guesses. To check the result, run
/// `envoy --mode validate -c FILE`. For an Envoy that has a configuration already, --fragment writes
/// the pieces; docs/envoy.md explains how to add them.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render envoy experiment.yaml --endpoint baseline=127.0.0.1:9001 \\\n    \
    --endpoint enhanced=https://models.example.com > envoy.yaml\n  \
    sidetrack render envoy experiment.yaml --fragment filter\n  \
    sidetrack render envoy experiment.yaml --upgrade websocket \\\n    \
    --idle-timeout 10m --upstream-protocol enhanced=http2")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The path of the filter's module, as Envoy opens it
    #[arg(long, value_name = "PATH", default_value = "dist/sidetrack.wasm", value_parser = NonEmptyStringValueParser::new())]
    wasm: String,
    /// An address of a cluster, HOST:PORT or a URL; may be repeated. A URL with a host name sets the
    /// host header. https and grpcs use TLS, grpc and grpcs use HTTP/2 [default: the cluster's name,
    /// resolved by DNS, port 8080]
    #[arg(long, value_name = "CLUSTER=ADDRESS")]
    endpoint: Vec<Endpoint>,
    #[command(flatten)]
    upstreams: Upstreams,
    /// The address and port to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:10000", value_parser = Address::to_listen)]
    listen: Address,
    /// The address and port of Envoy's admin interface
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901", value_parser = Address::to_listen)]
    admin: Address,
    /// Read the filter's configuration from this file and follow its changes, instead of an inline
    /// configuration
    #[arg(long, value_name = "PATH")]
    watch: Option<PathBuf>,
    /// Write only the filter's configuration: the file for --watch. Repeat the options of the
    /// bootstrap, because the filter depends on them
    #[arg(long, requires = "watch")]
    filter_only: bool,
    /// Write only a piece, for an Envoy that has a configuration already. Use the same options for
    /// all pieces
    #[arg(long, value_enum, value_name = "PIECE")]
    fragment: Option<Fragment>,
    /// Let Envoy's routes add the experiment and variant headers, which costs less than in the
    /// filter. Requires variants without clusters and with unique names
    #[arg(long, conflicts_with = "failover")]
    lean: bool,
    /// The filter's plugin name, a label of its metrics. In one proxy, each experiment file needs its
    /// own [default: sidetrack- and the name of the first experiment]
    #[arg(long, value_name = "NAME", value_parser = plugin)]
    plugin: Option<String>,
    /// The path of the access log
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout", value_parser = NonEmptyStringValueParser::new())]
    access_log: String,
    /// Send a span for each request to this OpenTelemetry Collector (OTLP over gRPC), with the
    /// experiment and the variant as attributes
    #[arg(long, value_name = "HOST:PORT")]
    traces: Option<Address>,
    /// Send exposures to this experiment store (`sidetrack serve`) or OpenTelemetry Collector (OTLP
    /// over gRPC), in addition to the access log. https:// uses TLS, with the authorities of --ca-file
    #[arg(long, value_name = "[https://]HOST:PORT", value_parser = receiver)]
    otlp: Option<Endpoint>,
    /// The file with the bearer token for --otlp, as Envoy opens it when it starts
    #[arg(long, value_name = "PATH", requires = "otlp", value_parser = NonEmptyStringValueParser::new())]
    otlp_token_file: Option<String>,
}

/// The address of the cluster that receives exposures.
fn receiver(text: &str) -> anyhow::Result<Endpoint> {
    format!("sidetrack-store={text}").parse()
}

/// How Envoy reaches the models, and how long it waits for them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Upstreams {
    /// The protocol of a cluster's models, or of all clusters: http1, http2, auto (with TLS, what the
    /// server selects, otherwise http1) or client (as the client; the models must speak both)
    /// [default: http2 for grpc URLs, otherwise auto]
    #[arg(long, value_name = "[CLUSTER=]PROTOCOL")]
    upstream_protocol: Vec<protocol::Choice>,
    /// The file with the certificate authorities for TLS endpoints, as Envoy opens it
    #[arg(long, value_name = "PATH", default_value = CA_FILE)]
    ca_file: PathBuf,
    /// The limit for a whole request and its response, such as 30s; 0s: none, so that responses can
    /// stream
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    timeout: Millis,
    /// The limit for the time in which nothing of a request or its response arrives; 0s: none
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    idle_timeout: Millis,
    /// A protocol that requests may upgrade to, such as websocket; may be repeated
    #[arg(long, value_name = "PROTOCOL", value_parser = upgrade)]
    upgrade: Vec<String>,
    /// The cluster for requests that match no experiment [default: the baseline of the first
    /// experiment]
    #[arg(long, value_name = "CLUSTER", value_parser = NonEmptyStringValueParser::new())]
    default_cluster: Option<String>,
    /// Retry requests that fail at a candidate on the baseline. Requires variants with clusters, and
    /// models for which processing a request twice is harmless
    #[arg(long)]
    failover: bool,
    /// With --failover, retry only requests with these methods
    #[arg(long, value_name = "METHOD", value_delimiter = ',', requires = "failover")]
    failover_methods: Vec<String>,
    /// With --failover, the largest request body that is buffered for the retry, such as 64KiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    failover_buffer: u32,
}

impl Upstreams {
    /// The options of the bootstrap with these values, and the defaults of all others.
    pub(crate) fn options(&self) -> Options {
        Options {
            protocol: self.upstream_protocol.clone(),
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            upgrade: self.upgrade.clone(),
            default_cluster: self.default_cluster.clone(),
            failover: self.failover.then(|| Failover {
                methods: self.failover_methods.clone(),
                buffer: self.failover_buffer,
            }),
            ..Options::default()
        }
    }
}

impl Args {
    /// Whether the output names the module.
    const fn loads_module(&self) -> bool {
        matches!(self.fragment, None | Some(Fragment::Filter | Fragment::AccessLog))
    }

    fn options(&self) -> Options {
        Options {
            wasm: self.wasm.clone(),
            endpoint: self.endpoint.clone(),
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            watch: self.watch.clone(),
            lean: self.lean,
            access_log: self.access_log.clone(),
            plugin: self.plugin.clone(),
            traces: self.traces.clone(),
            otlp: self.otlp.as_ref().map(|receiver| receiver.address.clone()),
            otlp_tls: self.otlp.as_ref().is_some_and(Endpoint::is_tls),
            otlp_token_file: self.otlp_token_file.clone(),
            ..self.upstreams.options()
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let options = args.options();
    if let Some(token) = &options.otlp_token_file {
        // A token without TLS can be read on the way.
        anyhow::ensure!(
            options.otlp_tls,
            "--otlp-token-file requires TLS: write --otlp https://HOST:PORT"
        );
        anyhow::ensure!(
            args.fragment.is_none(),
            "--otlp-token-file does not work with --fragment: the secret belongs to `static_resources.secrets`\n  \
             hint: add `{{name: sidetrack-store-token, generic_secret: {{secret: {{filename: {token}}}}}}}` there, and take \
             the cluster sidetrack-store from the bootstrap"
        );
    }
    anyhow::ensure!(
        args.fragment.is_none() || !args.filter_only,
        "--fragment writes a piece of the bootstrap and --filter-only the file for --watch, so each \
         needs a run of its own\n  hint: `--fragment filter --watch PATH` writes the filter that \
         reads the file, `--filter-only --watch PATH` the file"
    );
    let text = match args.fragment {
        Some(fragment) => fragment.render(&loaded.plan, &loaded.node, &options)?,
        None if args.filter_only => filter(&loaded.plan, &loaded.node, &options)?,
        None => bootstrap(&loaded.plan, &loaded.node, &options)?,
    };
    out.write_all(text.as_bytes())?;
    if args.loads_module()
        && let Some(notice) = notice(&args.wasm)
    {
        // If stderr is closed, the configuration is still complete.
        writeln!(std::io::stderr().lock(), "{}", wrap::note("", &notice, Ink::stderr())).ok();
    }
    Ok(ExitStatus::Success)
}

/// Why an Envoy on this machine could not load the module. With a module that it cannot load, Envoy
/// rejects the configuration.
pub(in crate::render) fn notice(wasm: &str) -> Option<String> {
    let path = Path::new(wasm);
    if !path.exists() {
        return Some(format!(
            "{} does not exist on this machine, and Envoy rejects a configuration without its module\n  \
             hint: `make wasm` builds dist/sidetrack.wasm; --wasm sets the path where Envoy runs",
            visible(wasm)
        ));
    }
    Module::read(path).err().map(|error| format!("{error:#}"))
}

pub(in crate::render) fn duration(text: &str) -> Result<Millis, String> {
    // Envoy's limit for durations is much higher, but a year is a mistake already.
    const LONGEST: Millis = Millis::new(365 * 86_400_000);
    Millis::parse(text)
        .filter(|time| *time <= LONGEST)
        .ok_or_else(|| "expected a number with ms, s, m, h or d: 500ms, 30s, 1h30m".to_owned())
}

/// A size in bytes. Envoy's buffers have 32-bit limits.
fn size(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .or_else(|| bytes(text)?.try_into().ok())
        .filter(|size| *size > 0)
        .ok_or_else(|| "expected a size from 1B to 4095MiB, with B, KiB or MiB: 64KiB".to_owned())
}

fn upgrade(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    if text.is_empty() || !text.chars().all(is_token) {
        return Err("expected a protocol, as in the header upgrade: websocket".to_owned());
    }
    let protocol = text.to_ascii_lowercase();
    if matches!(protocol.as_str(), "connect" | "connect-udp") {
        return Err(
            "CONNECT is a method and not a protocol of the header upgrade, and its requests \
                    have no path, by which the routes match; for WebSockets over HTTP/2, use \
                    --upgrade websocket"
                .to_owned(),
        );
    }
    Ok(protocol)
}

impl ValueEnum for Fragment {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Filter => ("filter", "The filter, for http_filters"),
            Self::Guard => ("guard", "Removes the filter's headers from client requests"),
            Self::Routes => ("routes", "The routes by the filter's headers, and to the baselines"),
            Self::Clusters => ("clusters", "The clusters of these routes"),
            Self::StatsTags => ("stats-tags", "The labels of the metrics, for stats_config"),
            Self::Traces => {
                ("traces", "The attributes of spans, for the connection manager's tracing")
            }
            Self::AccessLog => ("access-log", "The exposures, and the logger for failures"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

fn plugin(text: &str) -> anyhow::Result<String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    anyhow::ensure!(
        !text.is_empty() && text.bytes().all(inside),
        "must consist of letters, digits, '-', '_' and '.'"
    );
    Ok(text.to_owned())
}
