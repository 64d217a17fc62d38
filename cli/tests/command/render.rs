//! What `render` refuses, and what it reports.

use super::*;

#[test]
fn failover_and_a_changed_path_exclude_each_other() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let changed = text.replace("weight: 30", "weight: 30, path: {replace_prefix: [/a, /b]}");
    let render = |text: &str, options: &[&str]| {
        let arguments = [&["render", "envoy", "-", "--wasm", "sidetrack.wasm"], options].concat();
        run(&arguments, text.as_bytes())
    };
    assert_eq!(code(&render(&text, &["--failover"])), 0);
    assert_eq!(code(&render(&changed, &[])), 0);
    let refused = render(&changed, &["--failover"]);
    assert_eq!((code(&refused), stdout(&refused)), (1, ""));
    assert!(
        stderr(&refused).contains("--failover: new of forecast has a `path`"),
        "{}",
        stderr(&refused)
    );
}

fn render(options: &[&str]) -> std::process::Output {
    run(&[&["render", "envoy", "simple.yaml"], options].concat(), b"")
}

#[test]
fn a_module_that_envoy_cannot_load_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text.wasm");
    std::fs::write(&file, "not a module").unwrap();
    let file = file.display().to_string();
    for (wasm, why) in [
        ("missing.wasm", "note: missing.wasm does not exist on this machine"),
        (&file, "text.wasm: begins with \"not \", but must be a WebAssembly module"),
    ] {
        let whole = render(&["--wasm", wasm]);
        assert_eq!(code(&whole), 0);
        assert!(stdout(&whole).contains("clusters:"), "the output is complete");
        assert!(notes(&whole).contains(why), "{}", stderr(&whole));
        for (piece, is_in_it) in [("filter", true), ("access-log", true), ("routes", false)] {
            let found = notes(&render(&["--wasm", wasm, "--fragment", piece])).contains(why);
            assert_eq!(found, is_in_it, "{piece}");
        }
    }
}

#[test]
fn assumptions_are_listed_at_the_top() {
    let lists = |options: &[&str], text: &str| stdout(&render(options)).contains(text);
    let guessed = "without TLS: model-old, model-new.";
    assert!(lists(&[], guessed));
    let both = ["--endpoint", "model-old=a:1", "--endpoint", "model-new=https://b"];
    assert!(!lists(&both, "without TLS"));
    assert!(lists(&both[..2], "without TLS: model-new."));
    assert!(lists(&both, "whatever the client speaks: model-old."));
    assert!(lists(&both, "has the certificate authorities"));
    assert!(!lists(&[&both[..], &["--ca-file", "ca.pem"]].concat(), "certificate authorities"));
    assert!(lists(&[], "belong to model-old."));
    assert!(!lists(&["--default-cluster", "other"], "belong to"));
    assert!(lists(&["--wasm", "a/b.wasm"], "a/b.wasm, relative to the directory"));
    assert!(lists(&["--wasm", "/a/b.wasm"], "/a/b.wasm where Envoy runs"));
}

#[test]
fn options_that_cannot_be_rendered_are_refused() {
    for (options, why) in [
        (
            &["--endpoint", "other=a:1"][..],
            "unknown cluster \"other\"; expected one of: model-old, model-new",
        ),
        (&["--upstream-protocol", "other=http2"], "--upstream-protocol: unknown cluster \"other\""),
        (&["--upstream-protocol", "h2"], "expected one of: http1, http2, auto, client"),
        (
            &["--endpoint", "model-new=https://a", "--endpoint", "model-new=b:1"],
            "with and without TLS",
        ),
        (
            &["--endpoint", "model-new=https://a", "--endpoint", "model-new=https://b"],
            "different host names: a, b",
        ),
        (&["--timeout", "30"], "expected a number with ms, s, m, h or d"),
        (&["--idle-timeout", "400d"], "expected a number with ms, s, m, h or d"),
        (&["--upgrade", "web socket"], "expected a protocol"),
        (
            &["--fragment", "filters"],
            "possible values: filter, guard, routes, clusters, stats-tags, access-log",
        ),
        (
            &["--fragment", "filter", "--watch", "a", "--filter-only"],
            "`--fragment filter --watch PATH` writes the filter that reads the file",
        ),
        (&["--upgrade", "CONNECT"], "use --upgrade websocket"),
        (&["--upgrade", "connect-udp"], "use --upgrade websocket"),
        (&["--listen", "localhost:80"], "use 127.0.0.1:80"),
        (&["--admin", "proxy.example.com:80"], "or 0.0.0.0:80 for all of them"),
        (&["--access-log", ""], "a value is required for '--access-log <PATH>'"),
        (&["--wasm", ""], "a value is required for '--wasm <PATH>'"),
        (&["--watch", ""], "a value is required for '--watch <PATH>'"),
        (&["--ca-file", ""], "a value is required for '--ca-file <PATH>'"),
        (&["--default-cluster", ""], "a value is required for '--default-cluster <CLUSTER>'"),
        (
            &["--endpoint", "model-new=grpc://a", "--upstream-protocol", "model-new=http1"],
            "gRPC requires HTTP/2\n  hint: use http:// or https:// for model-new",
        ),
        (&["--failover", "--failover-buffer", "64kb"], "with B, KiB or MiB: 64KiB"),
        (&["--failover", "--failover-buffer", "0"], "expected a size from 1B to 4095MiB"),
        (&["--failover", "--failover-buffer", "4096MiB"], "expected a size from 1B to 4095MiB"),
    ] {
        let refused = render(options);
        assert_eq!((code(&refused), stdout(&refused)), (2, ""), "{options:?}");
        assert!(stderr(&refused).contains(why), "{options:?}: {}", stderr(&refused));
    }
}

#[test]
fn a_size_is_written_as_in_the_experiment_file() {
    for (size, bytes) in [("64KiB", 65536), ("1MiB1B", 1_048_577), ("300", 300)] {
        let text = render(&["--failover", "--failover-buffer", size]);
        let expected = format!("per_connection_buffer_limit_bytes: {bytes}\n");
        assert!(stdout(&text).contains(&expected), "{}", stderr(&text));
    }
}

/// What a piece assumes is listed with the piece, and what another piece assumes is not.
#[test]
fn each_piece_lists_what_it_assumes() {
    let comments = |piece: &str, options: &[&str]| {
        let output = render(&[&["--wasm", "a.wasm", "--fragment", piece], options].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let lines = stdout(&output).lines().take_while(|line| line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (failover, socket) = (&["--failover"][..], &["--upgrade", "websocket"][..]);
    let all = ["filter", "guard", "routes", "clusters", "stats-tags", "access-log"];
    for (options, assumption, pieces) in [
        (&[][..], "without TLS: model-old, model-new.", &["clusters"][..]),
        (&[], "These clusters speak HTTP/1.1", &["clusters"]),
        (&[], "The filter's module is a.wasm", &["filter", "access-log"]),
        (&[], "Otherwise remove SIDETRACK_ROUTES_CLEAN", &["filter"]),
        (&[], "always_set_request_id_in_response: true", &["access-log"]),
        (&["--watch", "f.yaml"], "f.yaml exists", &["filter"]),
        (failover, "include_request_attempt_count: true", &["routes"]),
        (failover, "per_connection_buffer_limit_bytes: 4194304", &["routes"]),
        (socket, "allow_connect: true", &["routes"]),
        (&["--upgrade", "h2c"], "allow_connect: true", &[]),
        (&[], "per_connection_buffer_limit_bytes", &[]),
        (&[], "Without the filter, your own routes", &[]),
    ] {
        for piece in all {
            let text = comments(piece, options);
            assert_eq!(text.contains(assumption), pieces.contains(&piece), "{piece}: {text}");
            assert!(!text.contains("--default-cluster"), "{piece}: {text}");
        }
    }
}

#[test]
fn times_are_rendered_as_envoy_reads_them() {
    let text = render(&["--timeout", "1m30s", "--idle-timeout", "1500ms"]);
    assert!(stdout(&text).contains("timeout: 90s\n"), "{}", stdout(&text));
    assert!(stdout(&text).contains("idle_timeout: 1.500s\n"), "{}", stdout(&text));
}

#[test]
fn a_file_that_needs_bodies_is_rendered_for_plain_envoy_alone() {
    let condition = "\n    match: {body: [{pointer: /model, exact: m}]}";
    let edit = ", body: {/model: m-2}";
    let simple = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let with_condition =
        simple.replace("- name: forecast", &format!("- name: forecast{condition}"));
    let with_edit = simple.replace("weight: 30", &format!("weight: 30{edit}"));
    for (file, feature) in [(with_condition, "match.body"), (with_edit.clone(), "variants[1].body")]
    {
        let envoy = run(&["render", "envoy", "-", "--wasm", "a.wasm"], file.as_bytes());
        assert!(stdout(&envoy).contains("SIDETRACK_WAIT_FOR_BODIES"), "{envoy:?}");
        // A route cannot read bodies, so it cannot tell the experiment's requests from others.
        let has_route = stdout(&envoy).contains("sidetrack-bypass:forecast");
        assert_eq!(has_route, feature != "match.body", "{feature}");
        let arguments = ["render", "envoy", "-", "--fragment", "routes"];
        let routes = run(&arguments, file.as_bytes());
        let note = "own routes lead the requests of forecast to model-old";
        assert_eq!(stdout(&routes).contains(note), !has_route, "{}", stdout(&routes));
        let options = ["--gateway", "a/b", "--host", "c.example", "--service", "d"];
        let options = [&options[..], &["--namespace", "e", "--url", "oci://f/g:1"]].concat();
        let istio = run(&[&["render", "istio", "-"], &options[..]].concat(), file.as_bytes());
        let expected = format!("experiments[0].{feature} needs the request's body");
        assert_eq!((code(&istio), stdout(&istio)), (1, ""), "{istio:?}");
        assert!(stderr(&istio).contains(&expected), "{}", stderr(&istio));
    }
    let failover = run(&["render", "envoy", "-", "--failover"], with_edit.as_bytes());
    assert_eq!(code(&failover), 1, "{failover:?}");
    assert!(stderr(&failover).contains("has a `body`"), "{}", stderr(&failover));
}
