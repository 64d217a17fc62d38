//! Two files with different header prefixes in one filter chain, each with an access log of its own.

use std::time::Instant;

use super::plugins::{bootstrap, client, manager, models, on_path, start};
use super::*;

/// The lines of a log, once there are so many.
async fn lines(path: &Path, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "there are not {count} lines: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A request that is in an experiment of each file has the exposure of each in its log.
#[tokio::test]
async fn each_log_has_the_exposures_of_its_own_prefix() {
    let models = models().await;
    let dir = tempfile::tempdir().unwrap();
    let first = on_path("first", "/", 50);
    let mut second = on_path("second", "/both", 50);
    second["settings"] = json!({"header_prefix": "x-cd-", "exposure_unit": "plain"});
    for variant in second["experiments"][0]["variants"].as_array_mut().unwrap() {
        variant.as_object_mut().unwrap().remove("cluster");
    }
    let mut rendered = bootstrap(&first, &models);
    let mut other = bootstrap(&second, &[]);
    let [own, others] =
        [&mut rendered, &mut other].map(|it| manager(&mut it["static_resources"]["listeners"][0]));
    let mut filter = others["http_filters"][0].take();
    filter["name"] = json!("second");
    own["http_filters"].as_array_mut().unwrap().insert(1, filter);
    let log = others["access_log"][0].take();
    own["access_log"].as_array_mut().unwrap().push(log);
    let paths = [dir.path().join("first.log"), dir.path().join("second.log")];
    for (log, path) in [0, 2].into_iter().zip(&paths) {
        own["access_log"][log]["typed_config"]["path"] = json!(path);
    }
    let envoy = start(&rendered).await;
    for user in 0..10 {
        for path in ["/both", "/first"] {
            let request = Request::get(path).header("x-user-id", format!("unit-{user}"));
            assert_eq!(client(&envoy, "predictors").await.send(request).await.unwrap().status, 200);
        }
    }
    let hash = |file: &Value| {
        let text = file.to_string();
        sidetrack::config::parse_json(text.as_bytes()).unwrap().hash.short().to_string()
    };
    let hashes = [&first, &second].map(hash);
    for ((path, hash), name) in paths.iter().zip(&hashes).zip(["first", "second"]) {
        let lines = lines(path, 20).await;
        assert_eq!(lines.len(), 20);
        for line in lines {
            let is_in = name == "first" || line["path"] == "/both";
            let experiment = if is_in { json!(name) } else { Value::Null };
            assert_eq!(line["experiment"], experiment, "{line}");
            let Some(exposure) = line["exposure"].as_str() else {
                assert!(!is_in, "{name}: {line}");
                continue;
            };
            assert!(is_in && exposure.contains(&format!(" config={hash} ")), "{name}: {line}");
            assert_eq!(exposure.contains(" unit=unit-"), name == "second", "{line}");
        }
    }
    envoy.stop().await.unwrap();
}
