//! A new configuration every 100 ms under load, good and bad ones: no client notices.

use std::time::Duration;

use sidetrack_lab::Load;
use sidetrack_tests::world::run;
use tokio::time::sleep;

use super::stand::{Answers, bad_file, file, served, size, stage, under_load, unharmed, until};

const DISCOVERY: &str = r"^extension_config_discovery\.http_filter\.sidetrack\.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_every_100_ms_fail_no_request() {
    let updates = size(40, 3_000_u32);
    run(stage(), move |stage| async move {
        let world = under_load(&stage, &file(30)).await;
        let envoy = &world.real().envoy;
        let vms =
            || async { envoy.stats(r"^wasm\..*\.active$").await.unwrap().values().sum::<i64>() };
        let before = vms().await;
        assert!(before >= 3, "one VM for each worker and one for the main thread: {before}");
        let answers = Answers::default();
        let load = Load::run(answers.load(&world, served)).unwrap();
        for n in 0..updates {
            let text = if n % 4 == 3 { bad_file(20 + n % 50) } else { file(20 + n % 50) };
            world.real().push(&text.to_string());
            sleep(Duration::from_millis(100)).await;
        }
        world.update(&file(40)).await;
        let totals = load.stop().await;
        answers.none_was_bad();
        assert!(totals.errors == 0 && totals.done > u64::from(updates), "{totals:?}");
        let seen = envoy.stats(DISCOVERY).await.unwrap();
        let count = |name: &str| -> i64 {
            seen.iter().filter(|(stat, _)| stat.ends_with(name)).map(|(_, value)| value).sum()
        };
        println!("{} requests, {seen:?}, VMs: {before}", totals.done);
        // On a busy machine Envoy may see two renames as one.
        assert!(count(".update_success") > i64::from(updates) / 4, "{seen:?}");
        assert_eq!(count(".update_rejected") + count(".config_fail"), 0, "{seen:?}");
        let rejected = world.metric("ab_test_config_rejected_total", &[]).await.unwrap();
        assert!(rejected > u64::from(updates) / 16, "{rejected}");
        unharmed(&world).await;
        until("the VMs of old configurations are gone", || async { vms().await <= before }).await;
    })
    .await;
}
