//! Experiments that have conditions on hosts, and two experiments in one file.

use super::running::{Running, forged, users};
use super::*;

use sidetrack_lab::Request;

fn infer(host: &str, user: &str) -> Request {
    Request::post("/v2/a", "{}").header("host", host).header("x-user-id", user)
}

/// Sends the requests of all users and compares the model that serves each of them with the
/// command's assignment.
async fn splits(running: &Running, experiment: &str, request: impl Fn(&str) -> Request) {
    let assigned = running.assigned(experiment);
    running.models.values().for_each(sidetrack_lab::ModelStub::clear);
    for user in users() {
        let answer = running.client.send(forged(request(&user))).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header_text("x-ab-variant").as_ref(), Some(&assigned[&user]));
    }
    let mut variants: Vec<&String> = assigned.values().collect();
    variants.sort();
    variants.dedup();
    assert_eq!(variants.len(), 2, "{experiment}: the candidate has users");
    for variant in variants {
        let served: Vec<String> = running.models[variant.as_str()]
            .requests()
            .iter()
            .map(|seen| seen.header_text("x-user-id").unwrap())
            .collect();
        let expected = assigned.iter().filter(|(_, assigned)| *assigned == variant);
        let mut expected: Vec<&String> = expected.map(|(user, _)| user).collect();
        let mut served: Vec<&String> = served.iter().collect();
        expected.sort();
        served.sort();
        assert_eq!(served, expected, "{experiment}: {variant}");
    }
}

#[tokio::test]
async fn gateway_with_two_experiments() {
    let case = Case::gateway(Release::Newest, "gateway-two-experiments");
    let running = Running::start(case, true).await;
    splits(&running, "first", |user| infer("a.example.com", user)).await;
    assert!(running.models["copies"].count() > 0, "the first experiment is mirrored");
    splits(&running, "second", |user| infer("b.example.com", user)).await;
    let running = Running::start(case, false).await;
    for user in users().iter().take(20) {
        for (host, _) in [("a.example.com", "old"), ("b.example.com", "stable")] {
            let answer = running.client.send(forged(infer(host, user))).await.unwrap();
            assert_eq!(answer.status, 200);
        }
    }
    running.served(&[("old", 20), ("stable", 20)]);
}

#[tokio::test]
async fn gateway_with_hosts_of_the_experiment() {
    let case = Case::gateway(Release::Newest, "gateway-match-hosts");
    let running = Running::start(case, true).await;
    for host in ["a.example.com", "b.example.com", "A.Example.com:8080"] {
        splits(&running, "forecast", |user| infer(host, user)).await;
    }
    let running = Running::start(case, false).await;
    for user in users().iter().take(20) {
        let answer = running.client.send(forged(infer("b.example.com", user))).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    running.served(&[(BASELINE, 20)]);
}

#[tokio::test]
async fn istio_1_29_gateway_with_two_experiments() {
    let case = Case::gateway(Release::Istio1_29, "two-experiments");
    let churn = |user: &str| infer("eu.churn.example.com", user).header("x-tenant", "eu-1");
    for plugin in [true, false] {
        let running = Running::start(case, plugin).await;
        if plugin {
            splits(&running, "financial-ab-test", |user| running.request(user)).await;
            splits(&running, "churn-test", churn).await;
            continue;
        }
        for user in users().iter().take(20) {
            for request in [running.request(user), churn(user)] {
                assert_eq!(running.client.send(forged(request)).await.unwrap().status, 200);
            }
        }
        running.served(&[(BASELINE, 20), ("churn-v1", 20)]);
    }
}
