//! Models that fail and recover under load, with 1, 2 and 4 workers.

use std::time::Duration;

use sidetrack_lab::Load;
use sidetrack_tests::world::run;
use tokio::time::sleep;

use super::stand::{Answers, file, size, stage, under_load, unharmed, until};

async fn outages(workers: u32) {
    let rounds = size(1, 10);
    run(stage().with_workers(workers), move |stage| async move {
        let world = under_load(&stage, &file(50)).await;
        let stubs = &world.real().stubs;
        let answers = Answers::default();
        // A dead model is a 503 from Envoy until the breaker has seen it, and nothing worse: no
        // silence, no 500.
        let mut options = answers.load(&world, |answer| [200, 503].contains(&answer.status));
        options.rate_per_second = 400.0;
        let load = Load::run(options).unwrap();
        for _ in 0..rounds {
            for dying in [vec!["new"], vec!["old"], vec!["old", "new"]] {
                for name in &dying {
                    stubs[*name].refuse().await;
                }
                sleep(Duration::from_millis(700)).await;
                for name in &dying {
                    stubs[*name].listen().await.unwrap();
                }
                let (old, new) = (world.received("old"), world.received("new"));
                until("both models get requests again", || async {
                    world.received("old") > old + 20 && world.received("new") > new + 20
                })
                .await;
            }
        }
        let totals = load.stop().await;
        println!("{workers} workers: {totals:?}");
        answers.none_was_bad();
        assert!(totals.status(200) > totals.done / 4, "{totals:?}");
        unharmed(&world).await;
        let closed = [("model_name", "new")];
        until("the breaker is closed", || async {
            world.metric("ab_test_breaker_state", &closed).await == Some(0)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_die_behind_one_worker() {
    outages(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_die_behind_two_workers() {
    outages(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_die_behind_four_workers() {
    outages(4).await;
}
