//! Two replicas in pods: one holds the lease and acts, the other takes over.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Program};

use super::setup::{Account, Traffic, experiment};
use super::weight;
use crate::stand::Stand;

/// The files of a service account where a pod has them, in a mount namespace of its own.
const IN_A_POD: &str = r#"set -e
account=$1
shift
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$account" /run/secrets/kubernetes.io/serviceaccount
exec "$@"
"#;

/// The files of the account: they stay the same folder when the token is renewed.
fn files(stand: &Stand, account: &Account) -> PathBuf {
    let folder = stand.mesh.folder().join(format!("account-{}", stand.ingress));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("token"), &account.token).unwrap();
    std::fs::write(folder.join("namespace"), &stand.ingress).unwrap();
    std::fs::copy(stand.mesh.folder().join("ca.crt"), folder.join("ca.crt")).unwrap();
    folder
}

/// A replica in a pod, without kubectl.
fn replica(stand: &Stand, name: &str, folder: &PathBuf, more: &[&str]) -> Program {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", IN_A_POD, "sh"])
        .arg(folder)
        .arg(artifact::cli())
        .args(["advance", "--apply", "kube", "--watch", "--every", "1s", "--name", "ab"])
        .args(more)
        .envs([
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "6443"),
            ("POD_NAME", name),
            ("NO_COLOR", "1"),
        ])
        .env_remove("KUBECONFIG");
    Program::start_alone(name, log_file(stand, name), command).unwrap()
}

fn log_file(stand: &Stand, replica: &str) -> PathBuf {
    stand.mesh.folder().join(format!("{}-{replica}.log", stand.ingress))
}

fn log(stand: &Stand, replica: &str) -> String {
    std::fs::read_to_string(log_file(stand, replica)).unwrap()
}

/// The decisions in the log of a replica.
fn decisions(stand: &Stand, replica: &str) -> usize {
    log(stand, replica).lines().filter(|line| line.contains("financial-ab-test: ")).count()
}

fn holder(stand: &Stand) -> String {
    let lease = stand.mesh.get("lease", &stand.ingress, "sidetrack-advance-ab").unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_replicas_one_acts_and_the_other_takes_over() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    mesh.apply(&stand.rendered(&experiment(10), &["--name", "ab"])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(10)).await;
    let account = Account::of_the_chart(&stand, "ab");
    let folder = files(&stand, &account);
    let traffic = Traffic::start(&gateway);
    let exposures = traffic.log_at(&stand, 10).await;
    traffic.pause().await;
    let options = ["--exposures", &exposures, "--force-conflicts"];
    let limit = Duration::from_secs(60);

    let mut first = replica(&stand, "first", &folder, &options);
    first.wait_until(limit, || holder(&stand).starts_with("first_")).unwrap();
    let mut second = replica(&stand, "second", &folder, &options);
    second.wait_until(limit, || log(&stand, "second").contains("waiting for the lease")).unwrap();
    first.wait_until(limit, || decisions(&stand, "first") > 5).unwrap();
    assert_eq!(weight(&mesh.get("wasmplugin", &stand.ingress, "ab").unwrap()), 30);
    assert_eq!(decisions(&stand, "second"), 0, "{}", log(&stand, "second"));
    // A reason to hold is an Event once, however often it holds.
    assert_eq!(events(&stand, "first_"), ["Raised", "Held"], "{}", log(&stand, "first"));

    // SIGKILL: the lease stays, and lapses.
    let killed = Instant::now();
    drop(first);
    second.wait_until(limit, || decisions(&stand, "second") > 0).unwrap();
    let took = killed.elapsed();
    assert!(took > Duration::from_secs(20), "{took:?}: the first could still have acted");
    println!("the second replica took over after {took:?}");
    assert!(holder(&stand).starts_with("second_"));

    // The token is read again, so a wrong one fails and the next good one works.
    std::fs::write(folder.join("token"), "wrong").unwrap();
    second.wait_until(limit, || log(&stand, "second").contains("status 401")).unwrap();
    std::fs::write(folder.join("token"), &account.token).unwrap();
    let before = decisions(&stand, "second");
    second.wait_until(limit, || decisions(&stand, "second") > before + 1).unwrap();

    // SIGTERM: the lease is given back, so the next one need not wait.
    let pid = second.pid().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    mesh.until("the lease is free", || Ok(holder(&stand).is_empty())).unwrap();
    let begun = Instant::now();
    let mut third = replica(&stand, "third", &folder, &options);
    third.wait_until(limit, || decisions(&stand, "third") > 0).unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}\n{}", log(&stand, "third"));
}

/// The reasons of the Events of a replica, in their order.
fn events(stand: &Stand, replica: &str) -> Vec<String> {
    let words = ["get", "events.events.k8s.io", "-n", &stand.ingress, "-o", "json"];
    let list: Value = serde_json::from_str(&stand.mesh.kubectl(&words).unwrap()).unwrap();
    let is_its = |event: &&Value| {
        event["reportingInstance"].as_str().is_some_and(|name| name.starts_with(replica))
    };
    let mut own: Vec<&Value> = list["items"].as_array().unwrap().iter().filter(is_its).collect();
    own.sort_by_key(|event| event["eventTime"].as_str().unwrap());
    own.into_iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}
