//! A rollout by the clock, and a mirror, under load on a real Envoy.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidetrack::decide::{self, Decision, Gate, Outcome};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack_lab::{Answer, Behavior, Client, Load, LoadOptions, Request, prometheus_value};
use sidetrack_tests::artifact;
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::time::sleep;

const PATH: &str = "/v2/models/forecast/infer";
const USERS: u64 = 500;

fn experiment() -> Value {
    json!({
        "name": "forecast",
        "unit": [{"header": "x-user-id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster"},
        ],
    })
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A moment as the file writes it: milliseconds since 1970 in RFC 3339.
fn moment(milliseconds: u64) -> String {
    let (days, of_day) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Days to a civil date (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (seconds, rest) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")
}

fn user(number: u64) -> String {
    format!("user-{}", number % USERS)
}

/// The core's decision about a user at a moment.
fn decided(plan: &Plan, user: &str, at: u64) -> Decision {
    let entropy = || -> u64 { panic!("a hash needs no randomness") };
    let mut world = decide::World { now: Timestamp::new(at), entropy, gate: &|_, _| Gate::Closed };
    match decide::decide(plan, &vec![(":path", PATH), ("x-user-id", user)], &mut world, &mut ()) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

/// The variant and the phase in a response, and its time.
#[derive(Clone, Debug)]
struct Told {
    user: String,
    sent: u64,
    answered: u64,
    status: u16,
    variant: Option<String>,
    phase: Option<String>,
    reason: Option<String>,
    served_by: Option<String>,
}

impl Told {
    fn of(user: String, answer: &Answer) -> Self {
        let answered = now();
        let elapsed = u64::try_from(answer.elapsed.as_millis()).unwrap();
        let header = |name: &str| answer.header_text(name);
        Self {
            user,
            sent: answered - elapsed - 1,
            answered,
            status: answer.status,
            variant: header("x-ab-variant"),
            phase: header("x-ab-phase"),
            reason: header("x-ab-reason"),
            served_by: header("x-model"),
        }
    }
}

/// A load of all users in turn, and their responses.
fn load(world: &World, rate: f64) -> (Load, Arc<Mutex<Vec<Told>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut options = LoadOptions::new(world.real().addr, rate, |number| {
        Request::get(PATH).header("x-user-id", user(number)).header("x-ab-debug", "1")
    });
    options.on_answer = {
        let told = Arc::clone(&told);
        Arc::new(move |number, _, answer| {
            let answer =
                answer.unwrap_or_else(|error| panic!("request {number} failed: {error:#}"));
            told.lock().unwrap().push(Told::of(user(number), &answer));
        })
    };
    (Load::run(options).unwrap(), told)
}

/// The share of each variant that the proxy publishes, in millionths.
async fn published(world: &World) -> (u64, u64) {
    let page = world.real().envoy.prometheus().await.unwrap();
    let weight = |variant| {
        let labels = [("experiment", "forecast"), ("model_name", variant)];
        let value = prometheus_value(&page, "ab_test_variant_weight_ppm", &labels);
        value.unwrap().to_string().parse().unwrap()
    };
    (weight("old"), weight("new"))
}

const PHASES: [(&str, u64); 3] = [("canary", 5), ("early", 20), ("half", 50)];

#[tokio::test]
async fn a_rollout_under_load_follows_the_clock() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        // Built before the clock runs.
        let _ = (artifact::wasm(), artifact::cli());
        let start = now() + 8_000;
        let phase = |(name, weight)| json!({"name": name, "for": "2s", "weights": {"new": weight}});
        let mut experiment = experiment();
        experiment["rollout"] = json!({"start": moment(start), "phases": PHASES.map(phase)});
        let file = json!({"experiments": [experiment], "settings": {"debug": "allowed"}});
        let world = stage.start(&file).await;
        let plan = world.plan();
        assert!(now() + 2_000 < start, "Envoy took too long to start");
        sleep(Duration::from_millis(start - 2_000 - now())).await;

        let (load, told) = load(&world, 300.0);
        let mut weights = Vec::new();
        while now() < start + 6_000 {
            let asked = now();
            let weight = published(&world).await;
            weights.push((asked, weight, now()));
            sleep(Duration::from_millis(50)).await;
        }
        let totals = load.stop().await;
        assert_eq!((totals.errors, totals.status(200)), (0, totals.done), "{totals:?}");
        let told = told.lock().unwrap().clone();
        assert_eq!(u64::try_from(told.len()).unwrap(), totals.done);

        // Each response has the variant of the recipe at some time between the request and the
        // response.
        let mut by_phase: BTreeMap<Option<String>, Vec<&Told>> = BTreeMap::new();
        for told in &told {
            let fits = |at| {
                let decision = decided(&plan, &told.user, at);
                let experiment = plan.experiments.first().unwrap();
                let variant = &experiment.variants[decision.served].name;
                let phase =
                    decision.phase.map(|phase| experiment.schedule.phases()[phase].name.clone());
                told.variant.as_ref() == Some(variant)
                    && told.served_by == Some(format!("{variant}-cluster"))
                    && told.phase == phase
                    && told.reason.as_deref() == Some(decision.reason.as_str())
            };
            assert!(told.status == 200 && (fits(told.sent) || fits(told.answered)), "{told:?}");
            by_phase.entry(told.phase.clone()).or_default().push(told);
        }
        let before = &by_phase[&None];
        assert!(before.len() > 20, "{}", before.len());
        assert!(before.iter().all(|told| told.reason.as_deref() == Some("not_started")));

        // Shares within bounds, by users: five standard deviations of a fair draw.
        let mut of_new: BTreeSet<&str> = BTreeSet::new();
        for (name, weight) in PHASES {
            let told = &by_phase[&Some(name.to_owned())];
            let users: BTreeSet<&str> = told.iter().map(|told| told.user.as_str()).collect();
            let new: BTreeSet<&str> = told
                .iter()
                .filter(|told| told.variant.as_deref() == Some("new"))
                .map(|told| told.user.as_str())
                .collect();
            // A busy machine sends fewer; the bounds below take that into account.
            assert!(users.len() > 100, "{name}: only {} users", users.len());
            let (count, of) =
                (u64::try_from(new.len()).unwrap(), u64::try_from(users.len()).unwrap());
            let off = (count * 100).abs_diff(of * weight);
            assert!(
                off * off <= 25 * of * weight * (100 - weight),
                "{name}: {count} of {of}, not {weight} %"
            );
            let left: Vec<_> = of_new
                .iter()
                .filter(|user| users.contains(*user) && !new.contains(*user))
                .collect();
            assert!(left.is_empty(), "{name}: {left:?} lost the candidate");
            of_new.extend(new);
            let labels = [("experiment", "forecast"), ("phase", name)];
            let count = u64::try_from(told.len()).unwrap();
            world.expect_metric("ab_test_requests_total", &labels, count).await;
        }
        world.expect_metric("ab_test_requests_total", &[], totals.done).await;

        // The published weights follow, within the second between two publications and the tick
        // that makes them.
        let steps: Vec<(u64, u64)> = weights.iter().map(|(_, weights, _)| *weights).collect();
        let mut distinct = steps.clone();
        distinct.dedup();
        assert_eq!(
            distinct,
            [(1_000_000, 0), (950_000, 50_000), (800_000, 200_000), (500_000, 500_000)]
        );
        for (asked, (_, new), answered) in weights {
            let weight = |at: u64| match at.checked_sub(start) {
                Some(since) => PHASES[usize::try_from(since / 2_000).unwrap().min(2)].1 * 10_000,
                None => 0,
            };
            let allowed = weight(asked - 1_500)..=weight(answered);
            let since = answered.saturating_sub(start);
            assert!(allowed.contains(&new), "{since} ms after the start: {new}, not {allowed:?}");
        }
        assert_eq!(
            world.real().envoy.stats("config_reload$").await.unwrap().values().sum::<i64>(),
            1
        );
    })
    .await;
}

/// A file whose mirror gets a fifth of the users.
fn mirrored() -> Value {
    let mut experiment = experiment();
    experiment["variants"][1]["weight"] = json!(30);
    experiment["mirror"] = json!({"cluster": "shadow", "percent": 20});
    json!({"experiments": [experiment], "settings": {"debug": "allowed"}})
}

/// The users whose requests have reached a model, and how often.
fn seen_by(world: &World, cluster: &str) -> BTreeMap<String, u64> {
    let mut users = BTreeMap::new();
    for seen in world.real().stubs[cluster].requests() {
        for (name, _) in &seen.headers {
            let told = ["x-ab-experiment", "x-ab-variant"].contains(&name.as_str());
            assert!(told || !name.starts_with("x-ab-"), "{name} reached {cluster}");
        }
        *users.entry(seen.header_text("x-user-id").unwrap()).or_default() += 1;
    }
    users
}

#[tokio::test]
async fn the_mirror_gets_the_same_fifth_each_time() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = stage.start(&mirrored()).await;
        let plan = world.plan();
        let expected: BTreeSet<String> =
            (0..USERS).map(user).filter(|user| decided(&plan, user, 0).mirror).collect();
        let count = u64::try_from(expected.len()).unwrap();
        // Five standard deviations of a fair draw are 44.
        assert!((56..=144).contains(&count), "{count} of {USERS}");
        let rounds = 3;
        let client = Client::new(world.real().addr);
        for round in 1..=rounds {
            for number in 0..USERS {
                let answer = client
                    .send(Request::get(PATH).header("x-user-id", user(number)))
                    .await
                    .unwrap();
                assert_eq!(answer.status, 200);
                assert!(answer.header("x-ab-mirror").is_none());
            }
            world
                .expect_metric(
                    "ab_test_mirrored_total",
                    &[("experiment", "forecast")],
                    count * round,
                )
                .await;
            let begun = Instant::now();
            while world.received("shadow") < count * round
                && begun.elapsed() < Duration::from_secs(2)
            {
                sleep(Duration::from_millis(10)).await;
            }
        }
        let copies: BTreeMap<String, u64> =
            expected.iter().map(|user| (user.clone(), rounds)).collect();
        assert!(seen_by(&world, "shadow") == copies, "the mirror got others than the recipe says");
        // Copies are not exposures, and no request is replaced by its copy.
        let models = seen_by(&world, "old-cluster").len() + seen_by(&world, "new-cluster").len();
        assert_eq!(u64::try_from(models).unwrap(), USERS);
        assert_eq!(world.received("old-cluster") + world.received("new-cluster"), USERS * rounds);
        world.expect_metric("ab_test_requests_total", &[], USERS * rounds).await;
        // Who is copied has nothing to do with the variant.
        let of_new =
            expected.iter().filter(|user| decided(&plan, user, 0).served.index() == 1).count();
        assert!(of_new > 0 && of_new < expected.len());
    })
    .await;
}

#[tokio::test]
async fn a_mirror_that_is_slow_fails_or_is_gone_harms_nobody() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = stage.start(&mirrored()).await;
        let plan = world.plan();
        let shadow = &world.real().stubs["shadow"];
        let mut sent = 0;
        for trouble in [
            Some(Behavior::Delay(Duration::from_secs(30))),
            Some(Behavior::Status(503)),
            Some(Behavior::Reset),
            None,
        ] {
            match trouble {
                Some(behaviour) => shadow.set(behaviour),
                None => shadow.refuse().await,
            }
            let (load, told) = load(&world, 300.0);
            sleep(Duration::from_secs(2)).await;
            let totals = load.stop().await;
            assert!(totals.done > 400, "{trouble:?}: {totals:?}");
            assert_eq!(
                (totals.errors, totals.status(200)),
                (0, totals.done),
                "{trouble:?}: {totals:?}"
            );
            for told in told.lock().unwrap().iter() {
                let served = &plan.experiments.first().unwrap().variants
                    [decided(&plan, &told.user, 0).served]
                    .name;
                assert_eq!(told.variant.as_ref(), Some(served), "{trouble:?}: {told:?}");
                assert!(told.answered - told.sent < 1_000, "{trouble:?}: {told:?}");
            }
            sent += totals.done;
        }
        world.expect_metric("ab_test_requests_total", &[("status", "success")], sent).await;
        world.expect_metric("ab_test_requests_total", &[], sent).await;
        world.expect_metric("ab_test_breaker_trips_total", &[], 0).await;
    })
    .await;
}
