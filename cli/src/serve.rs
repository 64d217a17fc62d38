//! `sidetrack serve`: the experiment store of files, on a port.

mod breakers;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sidetrack::quantity::bytes;
use sidetrack_analysis::in_words;
use sidetrack_lab::FileWatch;
use sidetrack_store::{
    Access, BreakerWatch, Catalog, Error, ExperimentFile, Follower, Limits, Server, Store, Tls,
};

use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::load::{Loaded, Source};
use crate::out::{Ink, Out};
use crate::words::{plain, visible};
pub(crate) use breakers::Proxies;

/// How often experiment files and logs are looked at.
const POLL: Duration = Duration::from_millis(500);

/// Store exposures and outcomes of experiments, and answer with their verdicts
///
/// Takes exposures from proxies (OTLP over gRPC and HTTP, or access logs that it follows), outcomes over HTTP, and
/// answers with what `analyze run --json` says. What is acknowledged is on disk. What is sent again changes nothing.
/// docs/store.md has the interface.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack serve --store data experiment.yaml --follow access.log\n  \
    sidetrack render envoy experiment.yaml --otlp 127.0.0.1:8088 > envoy.yaml\n  \
    curl 127.0.0.1:8088/v1/outcomes -H 'content-type: text/csv' \\\n    \
    --data-binary @outcomes.csv\n  \
    curl 127.0.0.1:8088/v1/experiments/financial-ab-test")]
pub(crate) struct Args {
    /// The experiment files; edits take effect at once
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The folder of the store; made if it does not exist
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// The address to listen on. Other addresses than loopback require TLS and a token
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8088")]
    listen: SocketAddr,
    /// An access log to follow, through its rotations; may be repeated
    #[arg(long, value_name = "LOG")]
    follow: Vec<PathBuf>,
    #[command(flatten)]
    proxies: Proxies,
    /// The SHA-256 digest of the bearer token that requests must have, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = digest)]
    token_sha256: Option<[u8; 32]>,
    /// The certificate for TLS, in PEM, with those between it and its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Delete exposures and outcomes after this number of days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..))]
    retention: Option<u64>,
    /// The largest size of the database, such as 500MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// The largest body of a request, such as 16MiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16MiB")]
    max_body: u64,
    /// The most records per second, on average
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_rate: Option<u32>,
    /// The most different metrics of outcomes
    #[arg(long, value_name = "N", default_value_t = 200)]
    max_metrics: usize,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let catalog = catalog(&args.files)?;
    let names: Vec<String> = catalog.names().map(str::to_owned).collect();
    let limits = Limits {
        max_size: args.max_size,
        max_metrics: args.max_metrics,
        retention: args.retention,
    };
    // Another server on the port would take the records; so the port comes first.
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("--listen: cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("--listen")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let store = Store::open(&args.store, catalog, limits).map_err(fault)?;
    let _in_runtime = runtime.enter();
    let server = Server::start(Arc::clone(&store), listener, args.access()).map_err(fault)?;
    let followers = args.follow.iter().map(|log| store.follow(log)).collect::<Result<Vec<_>, _>>();
    let followers = followers.map_err(fault)?;
    let breakers = args.proxies.watch(&store).map_err(fault)?;
    // Before the address is printed: whoever reads it may send a signal.
    let mut interrupt = Interrupt::listen().context("cannot wait for signals")?;
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    writeln!(out, "store {} of {}", visible(&args.store.to_string_lossy()), names.join(", "))?;
    writeln!(out, "listening on {scheme}://{address}")?;
    out.finish()?;
    let watched = watch(args, &store, &followers, breakers.as_ref(), &mut interrupt);
    runtime.block_on(watched)?;
    drop((followers, breakers));
    runtime.block_on(server.stop());
    store.close();
    Ok(ExitStatus::Success)
}

/// Until a signal: takes new versions of the files, and reports what is wrong with files and logs once.
async fn watch(
    args: &Args,
    store: &Store,
    followers: &[Follower],
    breakers: Option<&BreakerWatch>,
    interrupt: &mut Interrupt,
) -> anyhow::Result<()> {
    let watches = args.files.iter().map(FileWatch::open).collect::<std::io::Result<Vec<_>>>();
    let mut watches = watches.context("cannot read the experiment files again")?;
    let mut reported: Vec<Option<String>> = vec![None; followers.len()];
    let mut unread: Option<String> = None;
    let mut unreadable: Vec<Option<String>> = vec![None; watches.len()];
    loop {
        tokio::select! {
            () = interrupt.arrives() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
        for ((follower, last), log) in followers.iter().zip(&mut reported).zip(&args.follow) {
            let problem = follower.problem();
            if problem != *last {
                if let Some(problem) = &problem {
                    note(&format!("cannot follow {}: {problem}", log.display()));
                }
                *last = problem;
            }
        }
        let problem = breakers.and_then(BreakerWatch::problem);
        if problem != unread {
            if let Some(problem) = &problem {
                note(&format!("breakers are inferred from exposures: {problem}"));
            }
            unread = problem;
        }
        let mut changed = false;
        for ((watch, last), file) in watches.iter_mut().zip(&mut unreadable).zip(&args.files) {
            let problem = match watch.changed() {
                Ok(content) => {
                    changed |= content.is_some();
                    None
                }
                Err(error) => Some(in_words(&error).to_string()),
            };
            if problem != *last {
                let file = file.display();
                match &problem {
                    Some(problem) => note(&format!(
                        "cannot read {file}, its last version stays in force: {problem}"
                    )),
                    None => note(&format!("{file} can be read again")),
                }
                *last = problem;
            }
        }
        if changed {
            let replaced =
                catalog(&args.files).and_then(|catalog| store.replace(catalog).map_err(fault));
            match replaced {
                Ok(()) => note("the experiment files changed; their new version is in force"),
                Err(error) => note(&format!("the last good files stay in force: {error:#}")),
            }
        }
    }
}

fn note(text: &str) {
    // If stderr is closed, the store still works.
    writeln!(std::io::stderr().lock(), "{} {}", Ink::stderr().note("note:"), plain(text)).ok();
}

impl Args {
    fn access(&self) -> Access {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        Access {
            token_sha256: self.token_sha256,
            tls: tls.map(|(certificate, key)| Tls { certificate, key }),
            max_body: usize::try_from(self.max_body).unwrap_or(usize::MAX),
            max_rate: self.max_rate,
        }
    }
}

/// The experiments of these files.
pub(crate) fn catalog(files: &[PathBuf]) -> anyhow::Result<Catalog> {
    let files = files.iter().map(|path| {
        anyhow::ensure!(
            path.as_os_str() != "-",
            "the experiment file must be a path, because the store reads it again when it changes"
        );
        let source = Source::read(path)?;
        let Loaded { plan, analyses, .. } = source.good()?;
        let text = String::from_utf8_lossy(source.bytes()).into_owned();
        Ok(ExperimentFile { plan, analyses, text })
    });
    Catalog::new(files.collect::<anyhow::Result<_>>()?).map_err(fault)
}

/// A mistake in the input is a [`Fault`]; everything else means that the command could not run.
pub(crate) fn fault(error: Error) -> anyhow::Error {
    match error {
        Error::Input(problem) => Fault(problem).into(),
        other => anyhow::Error::new(other),
    }
}

/// A number of bytes: `500MiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let found = text.parse().ok().or_else(|| bytes(text)).filter(|size| *size > 0);
    found.ok_or_else(|| "expected a size with B, KiB or MiB: 500MiB".to_owned())
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "expected 64 hexadecimal digits: printf %s TOKEN | sha256sum".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        let pair = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}
