//! What happens at each change of a running experiment, under a steady load: which users get which model, where it
//! shows, and that no request fails. The result is the table of docs/mesh.md; `UPDATE=1` writes it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{Client, Load, Scrape};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Applied, Mesh, Pod, PodOptions, Registry, Role};

use crate::stand::{BASELINE, Caller, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 200;
/// The registry of this test, which stops in between.
const PORT: u16 = 5001;
/// A quiet day, for an agent that forgets modules after five seconds.
const QUIET: Duration = Duration::from_secs(6);
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mesh.md");

type Served = BTreeMap<String, String>;

struct Changes<'s> {
    gateway: &'s Pod,
    client: Client,
    load: Load,
    failures: Arc<Mutex<Vec<String>>>,
    rows: Vec<String>,
}

/// What shows a change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Shown {
    hash: Option<f64>,
    rejected: f64,
    fetch_failures: f64,
}

impl<'s> Changes<'s> {
    fn start(gateway: &'s Pod) -> Self {
        let (load, failures) = Caller::new(HOST).load(gateway.addr(GATEWAY_PORT), USERS as u64);
        Self { gateway, client: gateway.client(GATEWAY_PORT), load, failures, rows: Vec::new() }
    }

    /// Ends the load. No request has failed.
    async fn finish(self) -> Vec<String> {
        let totals = self.load.stop().await;
        assert_eq!(totals.status(200), totals.done, "{totals:?}");
        println!("{} requests, {} late", totals.done, totals.late);
        self.rows
    }

    async fn shown(&self) -> Shown {
        let envoy = Scrape::parse(&self.gateway.envoy_metrics().await.unwrap());
        let agent = Scrape::parse(&self.gateway.agent_metrics().await.unwrap());
        let failed = [("result", "fetch_failure")];
        Shown {
            hash: envoy.sum("ab_test_config_hash", &[]),
            rejected: envoy.sum("ab_test_config_rejected_total", &[]).unwrap_or_default(),
            fetch_failures: agent
                .sum("istio_agent_wasm_config_conversion_count", &failed)
                .unwrap_or_default(),
        }
    }

    async fn served(&self) -> Served {
        let users = (0..USERS).map(|user| format!("user-{user}"));
        Caller::new(HOST).served(&self.client, users).await.unwrap()
    }

    /// Makes a change, waits until these users get these models, and writes what it has shown.
    async fn make(
        &mut self,
        what: &str,
        change: impl FnOnce() -> Answer,
        expected: &Served,
        users: &str,
    ) {
        let before = self.shown().await;
        let begun = Instant::now();
        let answer = change();
        let mut took = begun.elapsed();
        loop {
            let served = self.served().await;
            if served == *expected {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(40),
                "{what}: the users get other models\n{answer:?}\n{:?}\n{}",
                self.shown().await,
                self.gateway.log_tail(30)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
            took = begun.elapsed();
        }
        // What is refused, or fetched in vain, takes a moment to show; the users must not notice it later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(self.served().await, *expected, "{what}: the users get other models later");
        let after = self.shown().await;
        assert!(
            self.failures.lock().unwrap().is_empty(),
            "{what}: {:?}",
            self.failures.lock().unwrap()
        );
        let row = format!("| {what} | {} | {users} | {} |", answer.text(), after.since(&before));
        println!("{row} {:.1} s", took.as_secs_f64());
        self.rows.push(row);
    }
}

/// What kubectl says.
#[derive(Clone, Debug)]
enum Answer {
    Applied(Applied),
    /// Nothing was applied.
    Nothing,
}

impl Answer {
    fn text(&self) -> String {
        match self {
            Self::Nothing => "–".to_owned(),
            Self::Applied(applied) if applied.accepted => "accepted".to_owned(),
            Self::Applied(applied) => {
                let said = applied.messages.trim();
                let why = said.rsplit_once("denied the request: ").map_or(said, |(_, why)| why);
                let why = why.rsplit_once("is invalid: ").map_or(why, |(_, why)| why);
                format!("refused: `{}`", why.replace('\n', " ").replace('|', "\\|"))
            }
        }
    }
}

impl Shown {
    fn since(&self, before: &Self) -> String {
        let mut signs = Vec::new();
        match (before.hash, self.hash) {
            (before, after) if before == after => {}
            (_, None) => signs.push("`ab_test_config_hash` is gone".to_owned()),
            (_, Some(0.0)) => signs.push("`ab_test_config_hash` is 0".to_owned()),
            _ => signs.push("a new `ab_test_config_hash`".to_owned()),
        }
        if self.rejected > before.rejected {
            signs.push("`ab_test_config_rejected_total` rises".to_owned());
        }
        if self.fetch_failures > before.fetch_failures {
            signs.push("the agent's `fetch_failure` rises".to_owned());
        }
        if signs.is_empty() { "nothing".to_owned() } else { signs.join("; ") }
    }
}

/// The shipped module with a custom section more: other bytes, and the same filter.
fn newer_module(folder: &Path) -> PathBuf {
    let file = folder.join("newer.wasm");
    let mut bytes = std::fs::read(artifact::wasm()).unwrap();
    bytes.extend(b"\0\x06\x05newer");
    std::fs::write(&file, bytes).unwrap();
    file
}

fn part<'m>(manifests: &'m str, kind: &str) -> &'m str {
    manifests.split("\n---\n").find(|part| part.contains(&format!("\nkind: {kind}\n"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_of_an_experiment_fails_a_request() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut registry = Registry::start(PORT).unwrap();
    registry.push(artifact::wasm(), "v1").unwrap();
    let newer = newer_module(mesh.folder());
    registry.push(&newer, "v2").unwrap();
    let url = |tag: &str| format!("oci://10.244.0.1:{PORT}/sidetrack:{tag}");
    let rendered =
        |experiment: &Value, tag: &str| stand.rendered(experiment, &["--url", &url(tag)]);
    let apply = |manifests: &str| Answer::Applied(mesh.try_apply(manifests, &[]).unwrap());

    mesh.apply(&rendered(&experiment(30.0), "v1")).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(30.0)).await;

    let assigned = |weight: f64| stand.assigned(&experiment(weight), USERS);
    let (at_10, at_30, at_50) = (assigned(10.0), assigned(30.0), assigned(50.0));
    let baseline: Served = at_10.keys().map(|user| (user.clone(), BASELINE.to_owned())).collect();
    let mut changes = Changes::start(&gateway);

    let good = rendered(&experiment(30.0), "v1");
    changes
        .make(
            "the weight rises from 30 to 50",
            || apply(&rendered(&experiment(50.0), "v1")),
            &at_50,
            "the new split",
        )
        .await;
    changes
        .make(
            "… falls to 10",
            || apply(&rendered(&experiment(10.0), "v1")),
            &at_10,
            "the new split",
        )
        .await;
    let mut disabled = experiment(10.0);
    disabled["experiments"][0]["enabled"] = json!(false);
    changes
        .make("`enabled: false`", || apply(&rendered(&disabled, "v1")), &baseline, "the baseline")
        .await;
    changes.make("`enabled: true`", || apply(&good), &at_30, "the split").await;
    let wrong = good.replace("weight: 30", "weight: 130");
    changes
        .make("a wrong experiment: weight 130", || apply(&wrong), &at_30, "the last good split")
        .await;
    changes.make("… repaired", || apply(&good), &at_30, "the split").await;
    let unknown = good.replace("url: oci://", "url: ftp://");
    changes.make("a WasmPlugin with `url: ftp://…`", || apply(&unknown), &at_30, "the split").await;
    let overlapping = good.replace(
        "hosts:\n  - predictor.example.com",
        "hosts:\n  - predictor.example.com\n  - \"*.example.com\"",
    );
    assert!(overlapping != good);
    changes
        .make(
            "a VirtualService with overlapping hosts",
            || apply(part(&overlapping, "VirtualService")),
            &at_30,
            "the split",
        )
        .await;
    let plugin = part(&good, "WasmPlugin");
    let delete = || {
        mesh.delete(plugin).unwrap();
        Answer::Nothing
    };
    changes.make("the WasmPlugin is deleted", delete, &baseline, "the baseline").await;
    changes.make("… and applied again", || apply(plugin), &at_30, "the split").await;
    changes
        .make(
            "another version of the filter",
            || apply(&rendered(&experiment(30.0), "v2")),
            &at_30,
            "the split",
        )
        .await;
    changes
        .make(
            "an image that does not exist",
            || apply(&rendered(&experiment(30.0), "none")),
            &baseline,
            "the baseline",
        )
        .await;
    changes
        .make("… and back", || apply(&rendered(&experiment(30.0), "v2")), &at_30, "the split")
        .await;

    // The agent forgets modules that no push has used for a day. This one does after five seconds, which is too short
    // for the changes above: Envoy refuses a new listener while the file of its filter is missing.
    let mut rows = changes.finish().await;
    let options =
        PodOptions::new(Role::Gateway, &stand.ingress, "forgetful", &[("istio", &stand.ingress)])
            .env("WASM_MODULE_EXPIRY", "5s")
            .env("WASM_PURGE_INTERVAL", "1s");
    let forgetful = mesh.pod(options).unwrap();
    stand.in_force(&forgetful, &experiment(30.0)).await;
    let mut changes = Changes::start(&forgetful);
    drop(registry);
    let quiet = || {
        std::thread::sleep(QUIET);
        Answer::Nothing
    };
    changes.make("the registry fails, and a day goes by", quiet, &at_30, "the split").await;
    let lower = rendered(&experiment(10.0), "v2");
    changes
        .make("… then the weight falls to 10", || apply(&lower), &baseline, "the baseline")
        .await;
    registry = Registry::start(PORT).unwrap();
    registry.push(&newer, "v2").unwrap();
    changes.make("the registry is back", || Answer::Nothing, &baseline, "the baseline").await;
    changes
        .make(
            "… then the weight rises to 30",
            || apply(&rendered(&experiment(30.0), "v2")),
            &at_30,
            "the split",
        )
        .await;

    rows.extend(changes.finish().await);
    in_the_handbook(&rows.join("\n"));
}

/// Compares the table with that of the page, or writes it there.
fn in_the_handbook(rows: &str) {
    const BEGIN: &str = "<!-- the table of changes, written by the tests -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let new = format!(
        "\n| change | `kubectl apply` | users get | what shows it |\n|---|---|---|---|\n{rows}\n\n"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{new}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, new, "docs/mesh.md is out of date; UPDATE=1 writes it again");
    }
}
