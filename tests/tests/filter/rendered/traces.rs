//! Spans: the decision as attributes, as a collector receives them.

use super::*;

/// The text value of an attribute (`KeyValue` of OTLP) in each span that has it.
fn values(spans: &[u8], key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, window) in spans.windows(key.len()).enumerate() {
        // The length of the key before it; behind it the value, whose text has a length of its own.
        let text = &spans[at + key.len()..];
        let is_key = at > 0 && usize::from(spans[at - 1]) == key.len() && window == key.as_bytes();
        if let (true, [0x12, _, 0x0a, length, text @ ..]) = (is_key, text) {
            found.push(String::from_utf8(text[..usize::from(*length)].to_vec()).unwrap());
        }
    }
    found
}

/// All that the collector has received, once it has so many spans of this path.
async fn received(collector: &ModelStub, count: usize) -> Vec<u8> {
    let begun = Instant::now();
    loop {
        let all: Vec<u8> = collector.requests().iter().flat_map(|seen| seen.body.clone()).collect();
        if values(&all, "http.url").len() >= count {
            return all;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", String::from_utf8_lossy(&all));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn spans_have_the_experiment_the_variant_and_the_trial() {
    let [model, collector] =
        [ModelStub::start("new").await.unwrap(), ModelStub::start("collector").await.unwrap()];
    for more in [&[][..], &["--failover"], &["--watch", "FILE"]] {
        collector.clear();
        let (new, old) = (new_at(model.addr()), format!("old-cluster={}", model.addr()));
        let traces = collector.addr().to_string();
        let dir = tempfile::tempdir().unwrap();
        let file_of_filter = dir.path().join("filter.yaml").display().to_string();
        let more: Vec<&str> = more
            .iter()
            .map(|it| if *it == "FILE" { file_of_filter.as_str() } else { it })
            .collect();
        let options =
            [&["--endpoint", &new, "--endpoint", &old, "--traces", &traces], &more[..]].concat();
        if more.contains(&"--watch") {
            let text = render(&dir, &file(), &[&options[..], &["--filter-only"]].concat());
            fs::write(&file_of_filter, text).unwrap();
        }
        let proxy = Rendered::start(&file(), &options).await;
        for path in ["/infer", "/infer", "/none"] {
            let answer = proxy.send(Request::get(path).header("x-user-id", "anna")).await;
            assert_eq!(answer.status, 200, "{more:?}");
        }
        let spans = received(&collector, 3).await;
        let line = &proxy.log(3).await[0];
        let exposure = line["exposure"].as_str().unwrap();
        assert_eq!(values(&spans, "feature_flag.key"), ["e", "e"], "{more:?}");
        assert_eq!(values(&spans, "feature_flag.result.variant"), ["new", "new"], "{more:?}");
        // The first two values of the exposure: trial and config.
        let versions = values(&spans, "feature_flag.version");
        let expected = exposure.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(expected.starts_with("trial=") && expected.contains(" config="), "{exposure}");
        assert_eq!(versions, [expected.as_str(), expected.as_str()], "{more:?}");
        assert_eq!(values(&spans, "sidetrack.assigned"), [""; 0], "{more:?}");
        assert!(!String::from_utf8_lossy(&spans).contains("anna"), "{more:?}");
    }
}
