//! `render istio --timeout`: the time that a candidate has to begin its response.

use std::time::{Duration, Instant};

use sidetrack_lab::{Behavior, Client, Request, prometheus_value};
use sidetrack_tests::mesh::Mesh;

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 60;

fn request(user: &str) -> Request {
    Caller::new(HOST).request(user)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_hangs_loses_its_users_and_streams_may_last() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    mesh.apply(&stand.rendered(&experiment, &["--timeout", "1s"])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    let candidates: Vec<&String> =
        assigned.iter().filter(|(_, variant)| *variant == ENHANCED).map(|(user, _)| user).collect();

    // A response that has begun may take longer than the limit.
    stand.enhanced.set(Behavior::Stream(Duration::from_secs(4), 0));
    let begun = Instant::now();
    let answer = client.send(request(candidates[0])).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}: no stream", begun.elapsed());
    assert!(!answer.body.is_empty());

    // The baseline has no limit.
    stand.baseline.set(Behavior::Delay(Duration::from_secs(3)));
    let of_baseline = assigned.iter().find(|(_, variant)| *variant == BASELINE).unwrap().0;
    assert_eq!(client.send(request(of_baseline)).await.unwrap().status, 200);
    stand.baseline.set(Behavior::Healthy);

    // Without a response, the gateway answers 504 after the limit, and asks the model once: a timeout is not retried.
    stand.enhanced.clear();
    stand.enhanced.set(Behavior::Hang);
    let begun = Instant::now();
    let answer = client.send(request(candidates[0])).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(
        (Duration::from_millis(900)..Duration::from_millis(2500)).contains(&took),
        "504 after {took:?}"
    );
    assert_eq!(stand.enhanced.count(), 1, "attempts");

    // The failures open the breaker: from then on, its users get the baseline at once.
    let lost: Vec<_> = candidates
        .iter()
        .map(|user| {
            let (client, user) = (Client::new(client.addr()), (*user).clone());
            tokio::spawn(
                async move { client.send(request(&user)).await.map(|answer| answer.status) },
            )
        })
        .collect();
    let mut statuses = Vec::new();
    for one in lost {
        statuses.push(one.await.unwrap().unwrap());
    }
    let begun = Instant::now();
    loop {
        let page = gateway.envoy_metrics().await.unwrap();
        if prometheus_value(&page, "ab_test_breaker_state", &[("model_name", ENHANCED)])
            == Some(2.0)
        {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{statuses:?}\n{}", gateway.log_tail(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for user in &candidates {
        let begun = Instant::now();
        let answer = client.send(request(user)).await.unwrap();
        assert_eq!(answer.header_text("x-model").as_deref(), Some(BASELINE), "{user}");
        assert!(begun.elapsed() < Duration::from_millis(500), "{user}: {:?}", begun.elapsed());
    }
    println!("{} users waited for 1 s; then the breaker was open", statuses.len() + 1);
}
