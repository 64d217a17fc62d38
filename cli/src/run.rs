//! `sidetrack run`: a real Envoy with the filter in front of the user's own services, on this machine.
//!
//! The experiment file is the only input while it runs: a good edit takes effect without a restart and without losing a
//! request, a wrong one is reported and changes nothing. Everything that is shown comes from Envoy's own metrics, as in
//! production.
//!
//! Dependencies point one way: `draw` → `observe`; `follow` and `supervise` change what runs; [`Runner`] connects them.

mod draw;
mod endpoints;
mod event;
mod evidence;
mod folder;
mod follow;
mod observe;
mod resources;
mod supervise;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack_lab::Envoy;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::exit::ExitStatus;
use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::load::Source;
use crate::local;
use crate::out::Out;
use crate::render::{Endpoint, Upstreams};
use crate::screen::Screen;
use crate::words::plain;
use draw::{Form, Printer};
use endpoints::Own;
use event::{Event, Kind};
use evidence::EvidenceStore;
use folder::Folder;
use follow::{Change, Follower};
use observe::Observer;
use resources::Resources;
use supervise::Supervisor;

/// The interval of reading the file and the metrics.
const TICK: Duration = Duration::from_millis(250);

/// Run an A/B test in front of your own services, on this machine
///
/// Starts an Envoy with the filter that sends each request to the service of its variant, and shows shares, errors,
/// latency and breakers. Edits of the file take effect when it is saved; after a wrong edit, the last good file stays in
/// force. A store in DIR keeps the exposures, takes outcomes, and serves the verdict and a page. Ctrl-C stops it.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    sidetrack run experiment.yaml --endpoint baseline=127.0.0.1:9001 \\\n    \
    --endpoint candidate=127.0.0.1:9002\n  \
    sidetrack run experiment.yaml --endpoint baseline=https://a.example.com \\\n    \
    --endpoint candidate=https://b.example.com --failover --json")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON
    file: PathBuf,
    /// The address of a cluster, HOST:PORT or a URL; required for each cluster, and may be repeated. A URL with a host
    /// name sets the host header. https and grpcs use TLS, grpc and grpcs use HTTP/2
    #[arg(long, value_name = "CLUSTER=ADDRESS")]
    endpoint: Vec<Endpoint>,
    /// The folder for the exposures, the store and Envoy's files; one run at a time uses it
    #[arg(long, value_name = "DIR", default_value = ".sidetrack")]
    dir: PathBuf,
    #[command(flatten)]
    proxy: local::Options,
    #[command(flatten)]
    store: evidence::StoreOptions,
    #[command(flatten)]
    upstreams: Upstreams,
    #[command(flatten)]
    filter: Filter,
    /// Print JSON, one object per line: events, and the state at each interval
    #[arg(long)]
    json: bool,
    /// The time between two lines of state without a terminal
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = line_interval)]
    interval: Duration,
}

fn line_interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok();
    let allowed = Duration::from_millis(250)..=Duration::from_secs(86_400);
    time.filter(|time| allowed.contains(time))
        .ok_or_else(|| "expected a time from 250ms to 24h, such as 10s".to_owned())
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    anyhow::ensure!(
        args.file.as_os_str() != "-",
        "run follows the edits of its file, so it cannot read stdin; pass the path of a file"
    );
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(start(args, out))
}

/// Starts everything, follows it until a signal, and stops it, also after an error.
async fn start(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    // The file first: its problems are what most users have to see.
    let source = Source::read(&args.file)?;
    let loaded = source.good()?;
    let options = endpoints::options(&args.upstreams.options(), &args.endpoint, &loaded.plan)?;
    args.proxy.program()?;
    let folder = Folder::open(&args.dir)?;
    let wasm = args.filter.find(folder.envoy())?;
    let listener = args.store.listen()?;
    let mut interrupt = Interrupt::listen()?;
    let form = if args.json { Form::Json } else { Form::Text };
    let mut printer = Printer::new(Screen::open(out), form, args.interval);
    for warning in endpoints::unreachable(&options.endpoint).await {
        printer.event(&Event::new(Kind::Endpoint, warning))?;
    }
    let follower = Follower::new(&args.file, source, loaded, options)?;
    let mut resources = Resources::new(&folder, &wasm);
    resources.write(follower.plan(), follower.node(), follower.options())?;
    let store = async {
        let listener = listener?;
        Some(EvidenceStore::start(&args.store, listener, &folder, follower.file()).await)
    };
    let (supervisor, store) = tokio::select! {
        both = async { tokio::join!(Supervisor::start(&args.proxy, &mut resources), store) } => both,
        () = interrupt.arrives() => return Ok(ExitStatus::Success),
    };
    let supervisor = supervisor?;
    let mut missing = None;
    let mut store = store.and_then(|started| {
        started
            .map_err(|error| missing = Some(plain(&format!("the store does not run: {error}"))))
            .ok()
    });
    if let Some(store) = &mut store {
        store.observe_proxy(supervisor.addr, supervisor.admin)?;
    }
    let own = own(args, &supervisor, store.as_ref());
    endpoints::refuse_own(&follower.options().endpoint, &own).await?;
    printer.started(&follower, &supervisor, &folder, store.as_ref())?;
    if let Some(missing) = &missing {
        printer.event(&Event::new(
            Kind::Store,
            format!("{missing}\nThe traffic goes on without it."),
        ))?;
    }
    let observer = Observer::new(follower.plan());
    let runner = Runner { follower, resources, supervisor, observer, store, missing, printer };
    runner.run(&folder, &mut interrupt).await
}

/// Where the run itself listens.
fn own(args: &Args, supervisor: &Supervisor, store: Option<&EvidenceStore>) -> Vec<Own> {
    let everywhere = args.proxy.is_on_all_addresses();
    let envoy = Own { what: "Envoy", option: "--port", addr: supervisor.addr, everywhere };
    let admin = Own {
        what: "Envoy's admin interface",
        option: "--admin",
        addr: supervisor.admin,
        everywhere: false,
    };
    let store = store.map(|store| Own {
        what: "the store",
        option: "--store-listen",
        addr: store.addr(),
        everywhere: false,
    });
    [envoy, admin].into_iter().chain(store).collect()
}

/// All that runs.
struct Runner<'a> {
    follower: Follower,
    resources: Resources<'a>,
    supervisor: Supervisor,
    observer: Observer,
    store: Option<EvidenceStore>,
    /// Why the store is unavailable.
    missing: Option<String>,
    printer: Printer<'a>,
}

impl Runner<'_> {
    async fn run(
        mut self,
        folder: &Folder,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<ExitStatus> {
        let ended = tokio::select! {
            ended = self.follow() => ended,
            () = interrupt.arrives() => Ok(()),
        };
        // The last requests are counted on the filter's next tick.
        if ended.is_ok() {
            self.observe().await.ok();
        }
        let was_running = self.supervisor.envoy().is_some_and(Envoy::is_running);
        let stopped = self.supervisor.stop().await;
        // Now the log is complete.
        let is_stored = self.store.is_some();
        if let Some(store) = self.store.take()
            && let Err(problem) = store.stop().await
        {
            let text = format!("{problem}\nThe next run stores the rest of the log.");
            self.printer.event(&Event::new(Kind::Store, text))?;
        }
        ended?;
        stopped?;
        self.printer.ended(&self.follower, &self.observer, folder, is_stored)?;
        anyhow::ensure!(was_running, "Envoy did not run when the run was stopped");
        Ok(ExitStatus::Success)
    }

    /// Follows the file and Envoy. It ends with an error only.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.take_edit()?;
            let happened = self.supervisor.check(&mut self.resources).await;
            for event in happened {
                if matches!(event.kind, Kind::Restarted) {
                    self.observer.restarted();
                }
                self.printer.event(&event)?;
            }
            self.observe().await?;
            if let Some(store) = &mut self.store
                && let Some(text) = store.check(self.supervisor.envoy()).await
            {
                self.printer.event(&Event::new(Kind::Store, text))?;
            }
            let missing = self.missing.as_deref();
            let problem = self.store.as_ref().and_then(EvidenceStore::problem).or(missing);
            self.printer.state(&self.follower, &self.supervisor, &self.observer, problem)?;
        }
    }

    /// Publishes an edit of the file to Envoy, if there is one.
    fn take_edit(&mut self) -> anyhow::Result<()> {
        match self.follower.poll() {
            None => Ok(()),
            Some(Change::Rejected(event)) => self.printer.event(&event),
            Some(Change::Accepted(next)) => {
                let written =
                    self.resources.write(&next.loaded.plan, &next.loaded.node, &next.options);
                if let Err(error) = written.context("cannot publish the file to Envoy") {
                    let event = self.follower.reject(&format!("{error:#}"));
                    return self.printer.event(&event);
                }
                self.observer.expect(&next.loaded.plan);
                let replaced =
                    self.store.as_ref().map_or(Ok(()), |store| store.replace(next.file()));
                self.follower.accept(*next, Instant::now());
                match replaced {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        let text = format!("the store has the file before: {error}");
                        self.printer.event(&Event::new(Kind::Store, text))
                    }
                }
            }
        }
    }

    /// Reads the metrics, and reports what changed.
    async fn observe(&mut self) -> anyhow::Result<()> {
        let Some(envoy) = self.supervisor.envoy() else { return Ok(()) };
        // An Envoy that does not answer is noticed by the supervisor.
        let Ok(metrics) = observe::scrape(envoy).await else { return Ok(()) };
        let events = self.observer.observe(&metrics, self.follower.plan());
        let log = || envoy.log_tail(3);
        let in_force = self.follower.confirm(self.observer.hash(), Instant::now(), log);
        for event in in_force.into_iter().chain(events) {
            self.printer.event(&event)?;
        }
        Ok(())
    }
}
