//! One world for a scenario: the filter in a proxy, models behind it, a client in front.
//!
//! There are two: [`Kind::InProcess`] runs the module on wasmtime under a fake host,
//! [`Kind::Envoy`] in a real Envoy with the bootstrap that `sidetrack render envoy` writes. A
//! scenario does not know which one it is in. Every exchange passes [`check`], whatever the
//! scenario is about, and is remembered for [`World::story`].

mod check;
mod exchange;
mod in_process;
mod real_envoy;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack::config;
use sidetrack::decide::{self, Gate, Outcome};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack_lab::Request;

use exchange::first;
pub use exchange::{Exchange, Received, Response};
pub use in_process::InProcess;
pub use real_envoy::{RealEnvoy, sidetrack_command};

/// Header lines: lower-case names, values as bytes.
pub type Lines = Vec<(String, Vec<u8>)>;

/// Which of the two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The fake host.
    InProcess,
    /// A real Envoy, with two workers if the stage does not say otherwise.
    Envoy,
}

/// What a model does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// Answers 200.
    #[default]
    Healthy,
    /// Answers with this status.
    Status(u16),
    /// Answers 200, with this `grpc-status` among the headers.
    Grpc(u8),
    /// Closes the connection; the proxy then answers for it.
    Reset,
}

/// Where a scenario's worlds come from. It keeps them, so that a failing test can print their logs.
#[derive(Clone)]
pub struct Stage {
    kind: Kind,
    change: fn(String) -> String,
    options: &'static [&'static str],
    workers: u32,
    worlds: Arc<Mutex<Vec<World>>>,
}

impl Stage {
    /// A stage for worlds of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            change: |bootstrap| bootstrap,
            options: &[],
            workers: 2,
            worlds: Arc::default(),
        }
    }

    /// A stage for real Envoys whose bootstrap is rendered with these options too.
    #[must_use]
    pub fn rendered(options: &'static [&'static str]) -> Self {
        Self { options, ..Self::new(Kind::Envoy) }
    }

    /// A stage for real Envoys whose bootstrap is changed.
    #[must_use]
    pub fn changed(change: fn(String) -> String) -> Self {
        Self { change, ..Self::new(Kind::Envoy) }
    }

    /// The same stage, whose Envoys have so many workers.
    #[must_use]
    pub fn with_workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// The kind of its worlds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A world with this experiment file.
    ///
    /// # Panics
    ///
    /// If it does not come to be.
    pub async fn start(&self, file: &Value) -> World {
        self.start_with(file, &file.to_string()).await
    }

    /// A world with routes and clusters for `file`, and a filter that is given `configuration` at
    /// first, good or bad.
    ///
    /// # Panics
    ///
    /// If it does not come to be, or `file` is bad.
    #[expect(clippy::panic, clippy::expect_used, reason = "a harness fails loudly")]
    pub async fn start_with(&self, file: &Value, configuration: &str) -> World {
        let routes = parse(file)
            .unwrap_or_else(|problems| panic!("the scenario's file is bad:\n{problems}"));
        let plan = config::parse_json(configuration.as_bytes()).ok();
        let backend = match self.kind {
            Kind::InProcess => {
                Backend::InProcess(Box::new(InProcess::start(routes, configuration)))
            }
            Kind::Envoy => Backend::Envoy(Box::new(
                RealEnvoy::start(
                    file,
                    &routes,
                    configuration,
                    self.change,
                    self.options,
                    self.workers,
                )
                .await
                .expect("a real Envoy"),
            )),
        };
        let state = State {
            plan: plan.map(Arc::new),
            file: configuration.to_owned(),
            recent: VecDeque::new(),
        };
        let world = World(Arc::new(Inner { backend, state: Mutex::new(state) }));
        locked(&self.worlds).push(world.clone());
        world
    }

    /// What happened in all worlds so far.
    pub async fn story(&self) -> String {
        let worlds = locked(&self.worlds).clone();
        let mut story = String::new();
        for world in worlds {
            story += &world.story().await;
        }
        story
    }
}

/// A handle to a world; clones are the same one.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    backend: Backend,
    state: Mutex<State>,
}

enum Backend {
    InProcess(Box<InProcess>),
    Envoy(Box<RealEnvoy>),
}

struct State {
    /// What the filter should be doing; none after a first configuration that was bad.
    plan: Option<Arc<Plan>>,
    file: String,
    recent: VecDeque<Exchange>,
}

impl World {
    /// Sends a request and checks what holds for every exchange.
    ///
    /// # Panics
    ///
    /// If there is no answer, or a check fails.
    pub async fn send(&self, request: Request) -> Exchange {
        let exchange = match &self.0.backend {
            Backend::InProcess(fake) => fake.send(request),
            Backend::Envoy(envoy) => envoy.send(request).await,
        };
        let mut state = locked(&self.0.state);
        state.recent.push_back(exchange.clone());
        if state.recent.len() > 4 {
            state.recent.pop_front();
        }
        let plan = state.plan.clone();
        drop(state);
        check::exchange(&exchange, plan.as_deref());
        exchange
    }

    /// `GET path` with these headers.
    pub async fn get<V: AsRef<[u8]>>(&self, path: &str, headers: &[(&str, V)]) -> Exchange {
        let with = |request: Request, (name, value): &(&str, V)| request.header(*name, value);
        self.send(headers.iter().fold(Request::get(path), with)).await
    }

    /// Sends a request and leaves before there is an answer.
    ///
    /// # Panics
    ///
    /// If the request reaches no model within 5 seconds.
    pub async fn hang_up(&self, request: Request) {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.hang_up(&request),
            Backend::Envoy(envoy) => envoy.hang_up(request).await,
        }
    }

    /// What the model of a cluster does from now on.
    ///
    /// # Panics
    ///
    /// If there is no such cluster.
    pub fn model(&self, cluster: &str, behaviour: Behavior) {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.model(cluster, behaviour),
            Backend::Envoy(envoy) => envoy.model(cluster, behaviour),
        }
    }

    /// Adds these headers to all responses of the model of a cluster from now on.
    ///
    /// # Panics
    ///
    /// If there is no such cluster.
    pub fn model_responds_with(&self, cluster: &str, headers: &[(&'static str, &'static str)]) {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.model_responds_with(cluster, headers),
            Backend::Envoy(envoy) => envoy.model_responds_with(cluster, headers),
        }
    }

    /// Requests that a cluster has received so far, copies for a mirror among them.
    pub fn received(&self, cluster: &str) -> u64 {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.received(cluster),
            Backend::Envoy(envoy) => envoy.received(cluster),
        }
    }

    /// The sum of all series of a metric that carry at least these labels; none when there is no
    /// such series.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.metric(name, labels),
            Backend::Envoy(envoy) => envoy.metric(name, labels).await,
        }
    }

    /// Asserts a metric's value; requests that are just ending get the time to do so.
    ///
    /// # Panics
    ///
    /// If it has another value after a second.
    #[expect(clippy::panic, reason = "an assertion")]
    pub async fn expect_metric(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        let begun = Instant::now();
        loop {
            let found = self.metric(name, labels).await;
            if found == Some(value) {
                return;
            }
            if self.kind() == Kind::InProcess || begun.elapsed() > Duration::from_secs(1) {
                panic!("{name}{labels:?} is {found:?}, not {value}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives the filter another configuration, which must take effect.
    ///
    /// # Panics
    ///
    /// If the filter refuses it.
    pub async fn update(&self, file: &Value) {
        let text = file.to_string();
        let accepted = self.configure(&text).await;
        assert!(accepted, "the filter refused a good configuration");
        let mut state = locked(&self.0.state);
        state.plan = parse(file).ok().map(Arc::new);
        state.file = text;
    }

    /// Gives the filter a bad configuration. The filter must take it, and go on with the last good
    /// one.
    ///
    /// # Panics
    ///
    /// If the filter refuses it: that would hold back other listeners.
    pub async fn update_badly(&self, configuration: &str) {
        let accepted = self.configure(configuration).await;
        assert!(accepted, "the filter refused a bad configuration: {configuration}");
    }

    async fn configure(&self, configuration: &str) -> bool {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.configure(configuration),
            Backend::Envoy(envoy) => envoy.configure(configuration).await,
        }
    }

    /// All that the proxy has logged.
    pub fn log(&self) -> String {
        match &self.0.backend {
            Backend::InProcess(fake) => fake.proxy.log_text(),
            Backend::Envoy(envoy) => envoy.envoy.log(),
        }
    }

    /// Which kind of world this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.0.backend {
            Backend::InProcess(_) => Kind::InProcess,
            Backend::Envoy(_) => Kind::Envoy,
        }
    }

    /// The fake host, for what only it can do.
    ///
    /// # Panics
    ///
    /// In a real Envoy.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn fake(&self) -> &InProcess {
        match &self.0.backend {
            Backend::InProcess(fake) => fake,
            Backend::Envoy(_) => panic!("a real Envoy is no fake host"),
        }
    }

    /// The real Envoy, for what only it can do.
    ///
    /// # Panics
    ///
    /// In the fake host.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn real(&self) -> &RealEnvoy {
        match &self.0.backend {
            Backend::Envoy(envoy) => envoy,
            Backend::InProcess(_) => panic!("the fake host is no real Envoy"),
        }
    }

    /// The configuration in force.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub fn plan(&self) -> Arc<Plan> {
        locked(&self.0.state).plan.clone().expect("a good configuration")
    }

    /// The proxy's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0.backend {
            Backend::InProcess(fake) => Timestamp::new(fake.proxy.now() / 1_000_000),
            Backend::Envoy(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Timestamp::new(
                    now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
                )
            }
        }
    }

    /// What the core, natively, decides about a request that needs no randomness.
    ///
    /// # Panics
    ///
    /// If it needs randomness.
    #[must_use]
    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub fn decided(&self, request: &Request) -> Outcome {
        let entropy = || -> u64 { panic!("a decision by hash needs no randomness") };
        let mut world = decide::World { now: self.now(), entropy, gate: &|_, _| Gate::Closed };
        decide::decide(&self.plan(), &lines_of(request), &mut world, &mut ())
    }

    /// All that is known about this world, for a failing test. It does not fail itself.
    pub async fn story(&self) -> String {
        let (file, recent) = {
            let state = locked(&self.0.state);
            (state.file.clone(), state.recent.clone())
        };
        let mut story = format!("=== configuration ===\n{file}\n=== last exchanges ===\n");
        for Exchange { sent, response, model } in &recent {
            let _ = writeln!(story, "{} {}\n{}", sent.method, sent.path, shown(&sent.headers));
            let _ = match model {
                Some(Received { cluster, path, headers }) => {
                    writeln!(story, "  up to {cluster}: {path}\n{}", shown(headers))
                }
                None => writeln!(story, "  reached no model"),
            };
            let _ = writeln!(story, "  back: {}\n{}", response.status, shown(&response.headers));
        }
        story += &match &self.0.backend {
            Backend::InProcess(fake) => fake.story(),
            Backend::Envoy(envoy) => envoy.envoy.report().await,
        };
        story + "\n"
    }
}

/// Parses an experiment file as the filter does.
fn parse(file: &Value) -> Result<Plan, String> {
    let problems = |problems: config::Problems| {
        problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    config::parse_json(file.to_string().as_bytes()).map_err(problems)
}

/// A request's headers as Envoy shows them to a filter.
fn lines_of(request: &Request) -> Lines {
    let pseudo = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let lower = |(name, value): &(String, Vec<u8>)| (name.to_ascii_lowercase(), value.clone());
    let headers: Lines = request.headers.iter().map(lower).collect();
    let host = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
    let authority = (":authority".to_owned(), host.unwrap_or_else(|| b"models.test".to_vec()));
    let mut lines =
        vec![authority, pseudo(":path", &request.path), pseudo(":method", &request.method)];
    lines.push(pseudo(":scheme", "http"));
    if !request.body.is_empty() {
        lines.push(pseudo("content-length", &request.body.len().to_string()));
    }
    lines.extend(headers.into_iter().filter(|(name, _)| name != "host"));
    lines
}

fn shown(lines: &Lines) -> String {
    let line = |(name, value): &(String, Vec<u8>)| {
        let value = value.get(..200).unwrap_or(value).escape_ascii();
        format!("    {name}: {value}")
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a scenario on a stage, and prints the story of its worlds when it fails.
///
/// # Panics
///
/// If the scenario does.
pub async fn run<F>(stage: Stage, scenario: impl FnOnce(Stage) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if let Err(failed) = tokio::spawn(scenario(stage.clone())).await {
        eprintln!("{}", stage.story().await);
        std::panic::resume_unwind(failed.into_panic());
    }
}
