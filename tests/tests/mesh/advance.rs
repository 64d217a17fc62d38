//! `sidetrack advance --apply kube` on the real API server, by an account that may do what the chart's Role allows and
//! nothing else, while a gateway serves traffic.

mod replicas;
pub(crate) mod setup;

use serde_json::{Value, json};
use sidetrack_lab::Behavior;
use sidetrack_tests::mesh::Mesh;

use crate::stand::Stand;
use setup::{Account, Traffic, experiment, same_but_weight, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_candidate_is_raised_held_and_rolled_back_under_load() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let rendered = stand.rendered(&experiment(10), &["--name", "ab"]);
    mesh.apply(&rendered).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(10)).await;
    let account = Account::of_the_chart(&stand, "ab");
    let traffic = Traffic::start(&gateway);
    let plugin = || mesh.get("wasmplugin", &stand.ingress, "ab").unwrap();

    // kubectl owns the experiments, so the first change is a conflict that names it.
    let log = traffic.log_at(&stand, 10).await;
    let before = plugin();
    let refused = account.advance(&["--exposures", &log]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    for words in ["belong to kubectl-client-side-apply (.spec.pluginConfig.experiments)", "--force"]
    {
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }
    assert_eq!(plugin(), before, "a refused change changes nothing");
    let dry = account.advance(&["--exposures", &log, "--dry-run", "--force-conflicts"]);
    assert_eq!(dry.status.code(), Some(0), "{}", text(&dry));
    assert_eq!(plugin(), before, "a dry run changes nothing");

    let raised = account.advance(&["--exposures", &log, "--force-conflicts"]);
    assert_eq!(raised.status.code(), Some(0), "{}", text(&raised));
    assert!(text(&raised).contains("10 % → 30 %"), "{}", text(&raised));
    assert_eq!(weight(&plugin()), 30);
    same_but_weight(&before, &plugin());
    assert!(managers(&stand).contains("\"manager\": \"sidetrack-advance\""), "{:#}", plugin());
    stand.in_force(&gateway, &experiment(30)).await;

    // The step has begun just now.
    let held = account.advance(&["--exposures", &log]);
    assert_eq!(held.status.code(), Some(4), "{}", text(&held));
    assert!(text(&held).contains("not in force yet"), "{}", text(&held));

    // What advance owns is its own to change.
    let log = traffic.log_at(&stand, 30).await;
    let raised = account.advance(&["--exposures", &log]);
    assert_eq!(raised.status.code(), Some(0), "{}", text(&raised));
    assert_eq!(weight(&plugin()), 50);
    stand.in_force(&gateway, &experiment(50)).await;
    let served = traffic.pause().await;
    assert_eq!(served.status(200), served.done, "{served:?}");

    // Harm.
    stand.enhanced.set(Behavior::Status(500));
    let traffic = Traffic::start(&gateway);
    traffic.fails(300).await;
    let log = traffic.log_at(&stand, 50).await;
    let before = plugin();
    let back = account.advance(&["--exposures", &log]);
    assert_eq!(back.status.code(), Some(3), "{}", text(&back));
    let after = plugin();
    assert_eq!(weight(&after), 0);
    let note = after["metadata"]["annotations"]["sidetrack/rolled-back"].as_str().unwrap();
    assert!(note.starts_with("sidetrack advance: financial-ab-test/enhanced-predictor"), "{note}");
    same_but_weight(&before, &after);
    stand.in_force(&gateway, &experiment(0)).await;
    stand.enhanced.set(Behavior::Healthy);
    traffic.pause().await;

    // The note blocks raises until somebody removes it, as the message says.
    let blocked = account.advance(&["--exposures", &log, "--start"]);
    assert_eq!(blocked.status.code(), Some(4), "{}", text(&blocked));
    let command =
        format!("kubectl -n {} annotate wasmplugin ab sidetrack/rolled-back-", stand.ingress);
    assert!(text(&blocked).contains(&command), "{}", text(&blocked));
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    mesh.kubectl(&words).unwrap();
    let again = account.advance(&["--exposures", &log, "--start"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(weight(&plugin()), 10);
    assert!(plugin()["metadata"]["annotations"].get("sidetrack/rolled-back").is_none());

    // What a user sees of it.
    let described = mesh.kubectl(&["describe", "wasmplugin", "ab", "-n", &stand.ingress]).unwrap();
    for words in ["Raised", "RolledBack", "10 % → 30 %", "50 % → 0 %", "sidetrack-advance"] {
        assert!(described.contains(words), "no {words} in\n{described}");
    }
    assert!(!described.contains("Held"), "single runs report changes only\n{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_may_change_its_own_plugin_alone() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    for name in ["ab", "other"] {
        mesh.apply(&stand.rendered(&experiment(10), &["--name", name])).unwrap();
    }
    let account = Account::of_the_chart(&stand, "ab");
    let other = account.run(&["--name", "other", "-n", &stand.ingress, "--force-conflicts"]);
    assert_eq!(other.status.code(), Some(2), "{}", text(&other));
    assert!(text(&other).contains("status 403"), "{}", text(&other));
    let can = account.can();
    let allowed: Vec<&str> = can.lines().map(str::trim).filter(|line| may(line)).collect();
    assert_eq!(allowed.len(), 3, "{allowed:#?}\n{can}");

    // Kinds whose experiments nobody can own alone.
    for (name, words) in [
        ("envoyfilter/ab", "cannot change one weight of an EnvoyFilter"),
        ("envoyextensionpolicy/ab", "cannot change one weight of an EnvoyExtensionPolicy"),
    ] {
        let refused = account.run(&["--name", name, "-n", &stand.ingress]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }
    let missing = account.advance(&["--promote"]);
    assert!(text(&missing).contains("--promote does not work"), "{}", text(&missing));
}

/// A change between the decision and the write is not overwritten: the decision is made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_in_between_is_decided_again() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    mesh.apply(&stand.rendered(&experiment(10), &["--name", "ab"])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(10)).await;
    let account = Account::of_the_chart(&stand, "ab");
    let traffic = Traffic::start(&gateway);
    let log = traffic.log_at(&stand, 10).await;
    traffic.pause().await;
    let ingress = stand.ingress.clone();
    let store = setup::Store::start(&stand, &log, move || {
        let patch = json!([{"op": "replace", "value": 30,
            "path": "/spec/pluginConfig/experiments/0/variants/1/weight"}]);
        let patch = patch.to_string();
        let words = ["patch", "wasmplugin", "ab", "-n", &ingress, "--type=json", "-p", &patch];
        mesh.kubectl(&words).unwrap();
    });
    let decided = account.advance(&["--store", &store.url, "--force-conflicts", "--json"]);
    assert_eq!(decided.status.code(), Some(4), "{}", text(&decided));
    let answer: Value = serde_json::from_slice(&decided.stdout).unwrap();
    assert_eq!(answer["from"], 30.0, "{answer:#}");
    assert_eq!(store.asked(), 2, "{answer:#}");
    assert_eq!(weight(&mesh.get("wasmplugin", &stand.ingress, "ab").unwrap()), 30);
}

fn weight(plugin: &Value) -> i64 {
    plugin["spec"]["pluginConfig"]["experiments"][0]["variants"][1]["weight"].as_i64().unwrap()
}

/// The owners of fields of the plugin, and what they own.
fn managers(stand: &Stand) -> String {
    let words = ["get", "wasmplugin", "ab", "-n", &stand.ingress, "-o", "json"];
    stand.mesh.kubectl(&[&words[..], &["--show-managed-fields"]].concat()).unwrap()
}

/// Whether a line of `kubectl auth can-i --list` is about objects that not everyone may see.
fn may(line: &str) -> bool {
    let own = ["wasmplugins", "leases", "events"].iter().any(|name| line.starts_with(name));
    let basic = line.starts_with("selfsubject") || line.starts_with('[') || line.starts_with("Res");
    own || !(basic || line.is_empty())
}
