//! A test as its users live through it: a real Envoy writes the access logs while the weight grows in the watched file,
//! the logs rotate and a second trial begins. All files end up in one folder, and the commands of docs/analysis.md,
//! run there as written, give the right verdict for each trial.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sidetrack_lab::{Client, Request};
use sidetrack_tests::artifact;
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::task::JoinSet;

const PATH: &str = "/v2/models/forecast/infer";
const BASELINE: &str = "baseline-predictor";
const CANDIDATE: &str = "enhanced-predictor";
const CLIENTS: u64 = 8;
/// How long Envoy may take to write its log.
const DEADLINE: Duration = Duration::from_secs(30);

/// The experiment with this salt and weight. The plan is the same in both trials.
fn file(salt: &str, weight: u32) -> Value {
    json!({"experiments": [{
        "name": "financial-ab-test",
        "salt": salt,
        "match": {"path": {"prefix": "/v2/models/forecast"}},
        "unit": [{"header": "x-user-id"}],
        "baseline": BASELINE,
        "variants": [
            {"name": BASELINE, "cluster": BASELINE},
            {"name": CANDIDATE, "cluster": CANDIDATE, "weight": weight, "reserve": 50},
        ],
        "analysis": {
            "metrics": ["accuracy"],
            "guardrails": ["error_rate:2pt", "latency_p95:100ms"],
            "planned_units": 4000,
        },
    }]})
}

/// What the caller's own systems write: a label per request, and revenue per user with its time.
struct Outcomes {
    labels: String,
    revenue: String,
    random: u64,
    requests: u64,
}

impl Outcomes {
    fn new() -> Self {
        Self {
            labels: "request_id,correct\n".to_owned(),
            revenue: "unit,time,revenue\n".to_owned(),
            random: 1,
            requests: 0,
        }
    }

    /// True with this probability in percent: the high bits of a linear congruence (Knuth's MMIX).
    fn chance(&mut self, percent: u64) -> bool {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < percent
    }

    fn add(&mut self, user: u64, request_id: &str, right: u64, revenue: u64) {
        self.requests += 1;
        let correct = u8::from(self.chance(right));
        writeln!(self.labels, "{request_id},{correct}").unwrap();
        if self.chance(50) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            let cents = if self.chance(50) { 50 } else { 0 };
            writeln!(self.revenue, "user-{user},{now},{revenue}.{cents:02}").unwrap();
        }
    }
}

/// What is true of the candidate in a trial: right predictions in percent, and revenue of a sale. The baseline's are 70
/// and 10.
#[derive(Clone, Copy)]
struct Truth {
    right: u64,
    revenue: u64,
}

/// Sends a request of each user; labels and revenue depend on the variant that the response names.
async fn visit(
    world: &World,
    users: impl Iterator<Item = u64>,
    truth: Truth,
    out: &Arc<Mutex<Outcomes>>,
) {
    let addr = world.real().addr;
    let users = Arc::new(Mutex::new(users.collect::<Vec<_>>().into_iter()));
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let (users, out) = (Arc::clone(&users), Arc::clone(out));
        tasks.spawn(async move {
            let client = Client::new(addr);
            loop {
                let Some(user) = users.lock().unwrap().next() else { break };
                let request = Request::post(PATH, "{}").header("x-user-id", format!("user-{user}"));
                let answer = client.send(request).await.unwrap();
                assert_eq!(answer.status, 200);
                let variant = answer.header_text("x-ab-variant").expect("x-ab-variant");
                let id = answer.header_text("x-request-id").expect("x-request-id");
                let is_candidate = variant == CANDIDATE;
                assert!(is_candidate || variant == BASELINE, "{variant}");
                let (right, revenue) =
                    if is_candidate { (truth.right, truth.revenue) } else { (70, 10) };
                out.lock().unwrap().add(user, &id, right, revenue);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// How many lines the logs in the folder have.
fn lines(folder: &Path) -> u64 {
    let logs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(".log"));
    logs.map(|log| fs::read_to_string(log).unwrap().lines().count() as u64).sum()
}

/// Renames the log, as logrotate does, and makes Envoy open a new one.
async fn rotate(world: &World, name: &str) {
    let log = world.real().access_log_path();
    fs::rename(&log, log.with_file_name(name)).unwrap();
    world.real().envoy.admin_post("/reopen_logs").await.unwrap();
}

/// Waits until Envoy has written all lines.
async fn settled(world: &World, requests: u64) {
    let begun = Instant::now();
    let folder = world.real().access_log_path().parent().unwrap().to_owned();
    loop {
        // Envoy writes its log every ten seconds, or when it opens it again.
        world.real().envoy.admin_post("/reopen_logs").await.unwrap();
        let found = lines(&folder);
        if found == requests {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{found} lines of {requests} requests");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The commands in docs/analysis.md.
fn commands() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/analysis.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, section) = docs.split_once("\n## A test from start to end\n").expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("the commands");
    let (block, _) = block.split_once("```").unwrap();
    let block = block.replace("\\\n", " ");
    block.lines().filter(|line| line.starts_with("sidetrack ")).map(str::to_owned).collect()
}

/// Runs a command of the docs in the folder, as text and as JSON.
fn analyzed(folder: &Path, command: &str) -> (String, Value) {
    let run = |more: &str| {
        let arguments = command.strip_prefix("sidetrack ").unwrap();
        let output = Command::new(artifact::cli())
            .args(arguments.split_whitespace())
            .args(more.split_whitespace())
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{command}\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    (run(""), serde_json::from_str(&run("--json")).unwrap())
}

/// The names of the phases. Their order is by the minute, and these are shorter.
fn phases(found: &Value) -> BTreeSet<&str> {
    let phases = found["srm"]["phases"].as_array().unwrap();
    phases.iter().map(|phase| phase["phase"].as_str().unwrap_or("the only one")).collect()
}

/// The difference of the candidate in a metric.
fn effect(found: &Value, metric: &str) -> f64 {
    let metrics = found["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|it| it["name"] == metric).unwrap();
    metric["candidates"][0]["diff"].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trial_in_one_folder_gets_its_own_verdict() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let first = "financial-2026-11";
        let better = Truth { right: 82, revenue: 14 };
        let world = stage.start(&file(first, 5)).await;
        let outcomes = Arc::new(Mutex::new(Outcomes::new()));
        // 5 percent; some of these users come back under each later weight.
        visit(&world, 0..1500, better, &outcomes).await;
        let [of_20, of_40] = [20, 40].map(|weight| file(first, weight));
        // The file changes, and the log rotates, while requests are under way.
        tokio::join!(
            world.update(&of_20),
            visit(&world, (0..500).chain(1500..2500), better, &outcomes)
        );
        tokio::join!(rotate(&world, "access.log.2"), visit(&world, 0..300, better, &outcomes));
        tokio::join!(
            world.update(&of_40),
            visit(&world, (0..500).chain(2500..4000), better, &outcomes)
        );
        let of_first = outcomes.lock().unwrap().requests;
        // A new salt: the second trial, with a candidate that is worse.
        let worse = Truth { right: 55, revenue: 7 };
        let second = file("financial-2026-12", 40);
        world.update(&second).await;
        visit(&world, 0..2000, worse, &outcomes).await;
        tokio::join!(rotate(&world, "access.log.1"), visit(&world, 2000..4000, worse, &outcomes));
        let requests = outcomes.lock().unwrap().requests;
        settled(&world, requests).await;
        let outcomes = outcomes.lock().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let put =
            |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        let log = world.real().access_log_path();
        let old = fs::read(log.with_file_name("access.log.2")).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&old).unwrap();
        put("access.log.2.gz", &gzip.finish().unwrap());
        // Delivered twice: before and after it was compressed.
        put("access.log.2", &old);
        put("access.log.1", &fs::read(log.with_file_name("access.log.1")).unwrap());
        put("access.log", &fs::read(&log).unwrap());
        put("experiment.yaml", second.to_string().as_bytes());
        put("first-trial.yaml", of_40.to_string().as_bytes());
        put("labels.csv", outcomes.labels.as_bytes());
        put("revenue.csv", outcomes.revenue.as_bytes());

        let repeated = old.split(|byte| *byte == b'\n').count() as u64 - 1;
        let commands = commands();
        let [now, before, by_user] = commands.as_slice() else { panic!("{commands:?}") };
        let (text, found) = analyzed(folder.path(), now);
        assert_eq!(found["decision"], "keep_baseline", "{text}");
        assert!(
            text.starts_with("Keep baseline-predictor: enhanced-predictor is worse in accuracy (-"),
            "{text}"
        );
        assert_eq!(found["lines"]["used"], requests - of_first, "{text}");
        let other = &found["other_trials"][0];
        assert!(
            before.ends_with(&format!("--trial {}", other["trial"].as_str().unwrap())),
            "{other}"
        );
        assert_eq!(other["lines"], of_first + repeated, "{text}");
        assert_eq!(found["plan"]["exploratory"], json!([]), "{text}");

        let (text, found) = analyzed(folder.path(), before);
        assert_eq!(
            (&found["decision"], &found["test"]),
            (&json!("promote"), &json!("fixed")),
            "{text}"
        );
        assert_eq!(
            phases(&found),
            ["5 %", "20 %", "40 %"]
                .map(|share| format!("{CANDIDATE} {share}"))
                .each_ref()
                .map(String::as_str)
                .into()
        );
        assert_eq!(found["lines"]["used"], of_first, "{text}");
        assert_eq!(found["lines"]["excluded"]["repeated"], repeated, "{text}");
        assert_eq!(found["outcomes"]["matched"], of_first, "{text}");
        let units =
            found["variants"].as_array().unwrap().iter().map(|it| it["units"].as_u64().unwrap());
        assert_eq!(units.sum::<u64>(), 4000, "{text}");
        assert!((effect(&found, "accuracy") - 0.12).abs() < 0.06, "{text}");

        let (text, found) = analyzed(folder.path(), by_user);
        assert_eq!(found["decision"], "promote", "{text}");
        assert!(effect(&found, "revenue") > 1.0, "{text}");
    })
    .await;
}
