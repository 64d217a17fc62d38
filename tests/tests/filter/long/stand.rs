//! The file and the load of these tests, and the checks of an Envoy after each of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack::decide::Outcome;
use sidetrack_lab::{Answer, Client, LoadOptions, Request};
use sidetrack_tests::world::{Kind, Stage, World};
use tokio::time::sleep;

/// A cluster that Envoy has and no client may reach: no request is mirrored to it.
pub(crate) const VAULT: &str = "vault";

/// How long anything may take to be true again. Only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The short size, or the long one.
pub(crate) fn size<T>(short: T, long: T) -> T {
    let is_long = std::env::var_os("SIDETRACK_LONG").is_some_and(|value| !value.is_empty());
    if is_long { long } else { short }
}

/// One experiment that uses all that a caller can touch: every kind of unit, an override, a mirror.
pub(crate) fn file(weight: u32) -> Value {
    json!({"experiments": [{
        "name": "strength", "salt": "strength-1",
        "unit": [{"header": "x-user-id"}, {"cookie": "sid"}, {"query": "user"}, {"body": "/user/id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old"},
            {"name": "new", "cluster": "new", "weight": weight, "reserve": 90},
        ],
        "mirror": {"cluster": VAULT, "percent": 0},
        "overrides": {"header": "x-ab-force", "token_sha256": "0".repeat(64)},
        "breaker": {"open_for": "1s", "max_open_for": "2s", "min_requests": 10},
    }]})
}

/// The same with a mistake.
pub(crate) fn bad_file(weight: u32) -> Value {
    let mut file = file(weight);
    file["experiments"][0]["baseline"] = json!("nobody");
    file
}

/// A stage without an access log, which would be the largest file of a long run.
pub(crate) fn stage() -> Stage {
    Stage::changed(|bootstrap| {
        let line = |line: &str| match line.trim_start() {
            path if path.starts_with("path: ") && path.contains("access.log") => {
                line.split("path:").next().unwrap_or_default().to_owned() + "path: /dev/null"
            }
            _ => line.to_owned(),
        };
        bootstrap.lines().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// An Envoy whose models count requests and forget them.
pub(crate) async fn under_load(stage: &Stage, file: &Value) -> World {
    assert_eq!(stage.kind(), Kind::Envoy);
    let world = stage.start(file).await;
    world.real().stubs.values().for_each(|stub| stub.record(false));
    world
}

/// The request with this number: units of all kinds, and sometimes one that a caller made up.
pub(crate) fn request(n: u64) -> Request {
    let user = n.wrapping_mul(2_654_435_761) % 5_000;
    match n % 8 {
        0 => Request::get("/").header("cookie", format!("a=b; sid={user}")),
        1 => Request::get(format!("/?user={user}")),
        2 => Request::post("/", format!("{{\"user\": {{\"id\": {user}}}}}")),
        3 => Request::get("/").header("x-user-id", user.to_string()).header("x-ab-cluster", VAULT),
        4 => Request::get("/"),
        _ => Request::get("/").header("x-user-id", user.to_string()),
    }
}

/// What came of a load, and the first answers that were not as they should be.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<(AtomicU64, Mutex<Vec<String>>)>);

impl Answers {
    /// As many requests as the machine carries, 16 at a time; every answer must pass `is_good`.
    pub(crate) fn load(
        &self,
        world: &World,
        is_good: impl Fn(&Answer) -> bool + Send + Sync + 'static,
    ) -> LoadOptions {
        let mut options = LoadOptions::new(world.real().addr, 1e6, request);
        options.timeout = PATIENCE;
        let (all, bad) = (Self(Arc::clone(&self.0)), Self(Arc::clone(&self.0)));
        options.on_answer = Arc::new(move |n, request, answer| {
            all.0.0.fetch_add(1, Ordering::Relaxed);
            let complaint = match answer {
                Ok(answer) if is_good(&answer) => return,
                Ok(answer) => format!("{n}: {} {:?}", answer.status, answer.headers),
                Err(error) => format!("{n}: {error:#}"),
            };
            let mut bad = bad.0.1.lock().unwrap();
            if bad.len() < 5 {
                bad.push(format!("{complaint} for {request:?}"));
            }
        });
        options
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Waits until so many answers have come.
    pub(crate) async fn reach(&self, count: u64) {
        let (mut seen, mut begun) = (self.count(), Instant::now());
        while self.count() < count {
            if self.count() > seen {
                (seen, begun) = (self.count(), Instant::now());
            }
            assert!(begun.elapsed() < PATIENCE, "no answer for a minute after {seen} of {count}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn none_was_bad(&self) {
        let bad = self.0.1.lock().unwrap();
        assert!(bad.is_empty(), "among {} answers: {bad:#?}", self.count());
    }
}

/// The answer of a healthy model to a request that the filter saw.
pub(crate) fn served(answer: &Answer) -> bool {
    answer.status == 200 && answer.header("x-ab-variant") == answer.header("x-model")
}

/// Waits until this is true.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_true: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_true().await {
        assert!(begun.elapsed() < PATIENCE, "not within a minute: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Asserts that no request is active, no module has crashed, the vault received nothing, all users
/// get their variants, and no stat name contains a user's data.
pub(crate) async fn unharmed(world: &World) {
    let real = world.real();
    assert!(real.envoy.is_running(), "Envoy is gone");
    until("no request is under way", || async {
        let active = real.envoy.stats(r"^http\.predictors\.downstream_rq_active$").await.unwrap();
        active.values().all(|active| *active == 0)
    })
    .await;
    assert_eq!(world.received(VAULT), 0, "somebody reached the vault");
    let client = Client::new(real.addr).with_timeout(PATIENCE);
    until("everyone gets their variant", || async {
        for user in 0..40 {
            let request = Request::get("/").header("x-user-id", format!("after-{user}"));
            let Outcome::Decided(decision) = world.decided(&request) else { panic!("no decision") };
            let plan = world.plan();
            let own = &plan.experiments.first().unwrap().variants[decision.served].name;
            let answer = client.send(request).await.unwrap();
            if answer.status != 200 || answer.header("x-ab-variant") != Some(own.as_bytes()) {
                return false;
            }
        }
        true
    })
    .await;
    no_crash(world);
    let statistics = real.envoy.admin_get("/stats").await.unwrap();
    let callers =
        statistics.lines().find(|line| line.contains("forged") || line.contains("after-"));
    assert_eq!(callers, None, "a caller's words are in the statistics");
}

/// No module has trapped, by what Envoy writes then.
pub(crate) fn no_crash(world: &World) {
    let log = world.log();
    for sign in ["Uncaught RuntimeError", "in-VM backtrace", "panicked at"] {
        let line = log.lines().find(|line| line.contains(sign));
        assert!(line.is_none(), "{}", line.unwrap_or_default());
    }
}
