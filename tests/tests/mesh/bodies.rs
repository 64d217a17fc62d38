//! Units in request bodies, read by the script of `--body-unit lua`: without an EnvoyFilter.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use sidetrack_lab::{Answer, Client, Request};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::Mesh;

use crate::stand::{BASELINE, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 200;
/// The header of the script.
const HEADER: &str = "x-ab-unit-1";

fn infer(body: impl Into<Vec<u8>>) -> Request {
    let body: Vec<u8> = body.into();
    Request::post("/v2/models/forecast/infer", body).header("host", HOST)
}

async fn send(client: &Client, request: Request) -> Answer {
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Waits until a user of the candidate gets it: the script and the filter arrive in either order.
async fn arrives(client: &Client, request: impl Fn() -> Request, log: impl Fn() -> String) {
    let begun = Instant::now();
    loop {
        let answer = client.send(request()).await;
        let model = answer.ok().and_then(|answer| answer.header_text("x-model"));
        if model.as_deref() == Some(ENHANCED) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{model:?}\n{}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Bodies of every kind, with and without a unit.
fn bodies() -> Vec<Vec<u8>> {
    let deep = |levels: usize| {
        format!(
            "{{\"x\": {}1{}, \"user\": {{\"id\": \"u\"}}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let mut bodies: Vec<Vec<u8>> = [
        r#"{"user": {"id": "4711"}}"#,
        r#"{"user": {"id": 4711}}"#,
        r#" { "inputs" : [ 1 , { "user": {"id": "not this"} } , "}" ] ,"#,
        r#"{"inputs": [1, {"user": {"id": "no"}}, "}\"]"], "user": {"name": "x", "id": "yes"}}"#,
        r#"{"user": {"id": 12345678901234567890123}}"#,
        r#"{"user": {"id": -1.50e2}}"#,
        r#"{"user": {"id": 01}}"#,
        r#"{"user": {"id": 1.}}"#,
        r#"{"user": {"id": .5}}"#,
        r#"{"user": {"id": 1e+}}"#,
        r#"{"user": {"id": "a\u00e9\"b\/c\\"}}"#,
        r#"{"user": {"id": "\ud83d\ude00 \u20ac \u007e"}}"#,
        r#"{"user": {"id": "\ud83d"}}"#,
        r#"{"user": {"id": "\ude00"}}"#,
        r#"{"user": {"id": "\x"}}"#,
        r#"{"user": {"id": "é 😀"}}"#,
        r#"{"us\u0065r": {"id": "escaped key"}}"#,
        r#"{"user": {"id": "first"}, "user": {"id": "last"}}"#,
        r#"{"user": {"id": "first", "id": "last"}}"#,
        r#"{"user": {"id": "first"}, "user": 7}"#,
        r#"{"user": {"id": true}}"#,
        r#"{"user": {"id": "true"}}"#,
        r#"{"user": {"id": null}}"#,
        r#"{"user": {"id": {"v": 1}}}"#,
        r#"{"user": {"id": ["a"]}}"#,
        r#"{"user": {"id": ""}}"#,
        r#"{"user": ["id", "x"]}"#,
        r#"{"user": "id"}"#,
        r#"{"user": {"id": "x"}} trailing"#,
        r#"{"user": {"id": "x"}} "#,
        r#"{"user": {"id": "x"}"#,
        r#"{"user": {"id": "x"}, "v": }"#,
        r#"{"user": {"id": "x"}, "v": tru}"#,
        r#"{"user": {"id": "x"}, "v": [1,]}"#,
        r#"{"user": {"id": "x"},}"#,
        r#"{"user": {"id": "x"} "v": 1}"#,
        r#"{"user" {"id": "x"}}"#,
        r#"{user: {"id": "x"}}"#,
        r#"[{"user": {"id": "x"}}]"#,
        "{}",
        "[]",
        "7",
        "user=x",
    ]
    .into_iter()
    .map(Into::into)
    .collect();
    bodies.push(b"{\"user\": {\"id\": \"a\nb\"}}".to_vec());
    bodies.push(b"{\"user\": {\"id\": \"\x01\"}}".to_vec());
    bodies.push(
        b"{\"user\": {\"id\": \"a\x7f\"}}".to_vec().into_iter().filter(|b| *b != 0x7f).collect(),
    );
    bodies.push(deep(500).into_bytes());
    bodies
}

/// The bucket of each unit, by `sidetrack assign`.
fn buckets(stand: &Stand, file: &str, units: &[String]) -> BTreeMap<String, String> {
    let mut command = Command::new(artifact::cli())
        .args(["assign", file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    command.stdin.take().unwrap().write_all((units.join("\n") + "\n").as_bytes()).unwrap();
    let output = command.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), units.len(), "{}: {text}", stand.models);
    let bucket = |line: &str| line.rsplit(',').nth(2).unwrap().to_owned();
    units.iter().cloned().zip(lines.into_iter().map(bucket)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_reads_the_unit_that_the_filter_would_read() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut experiment = experiment(30.0);
    experiment["experiments"][0]["unit"] = json!([{"body": "/user/id"}]);
    experiment["settings"] = json!({"debug": "allowed"});
    let options = ["--kind", "trafficextension", "--body-unit", "lua", "--no-guard"];
    let manifests = stand.rendered(&experiment, &options);
    assert!(!manifests.contains("kind: EnvoyFilter"), "{manifests}");
    mesh.apply(&manifests).unwrap();
    let gateway = stand.gateway();
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;
    let of = |user: &str| json!({"inputs": [1, 2, 3], "user": {"id": user}}).to_string();
    arrives(&client, || infer(of(candidate)), || gateway.log_tail(30)).await;

    for (user, variant) in &assigned {
        // A header of the client's own decides nothing.
        let answer = send(&client, infer(of(user)).header(HEADER, candidate)).await;
        assert_eq!(answer.header_text("x-model").as_ref(), Some(variant), "{user}");
    }
    for model in [&stand.baseline, &stand.enhanced] {
        let seen = model.requests();
        assert!(seen.iter().all(|seen| seen.header(HEADER).is_none()), "the model gets {HEADER}");
        assert!(seen.iter().any(|seen| seen.body.starts_with(b"{\"inputs\"")));
    }

    // The same unit as the core reads, whatever the body.
    let units: Vec<Option<String>> = bodies()
        .iter()
        .map(|body| {
            let unit = sidetrack::body::value(body, "/user/id")?;
            let unit = String::from_utf8(unit.into_owned()).unwrap();
            // No header can carry these.
            (!unit.is_empty() && !unit.contains(char::is_control)).then_some(unit)
        })
        .collect();
    let known: Vec<String> = units.iter().flatten().cloned().collect();
    assert!(known.len() > 12, "{known:?}");
    let buckets = buckets(&stand, &stand.file(&experiment), &known);
    for (body, unit) in bodies().into_iter().zip(units) {
        let text = String::from_utf8_lossy(&body).into_owned();
        let answer = send(&client, infer(body).header("x-ab-debug", "1")).await;
        let bucket = answer.header_text("x-ab-bucket");
        let expected = unit.as_ref().map(|unit| buckets[unit].clone());
        assert_eq!(bucket, expected, "{text} has {unit:?}: {answer:?}");
        if unit.is_none() {
            assert_eq!(
                answer.header_text("x-ab-reason").as_deref(),
                Some("missing_unit"),
                "{text}"
            );
        }
    }

    // Bodies over settings.body_limit have no unit, and are no error; so have encoded ones, and requests without a body.
    let padded =
        |size: usize| json!({"user": {"id": candidate}, "x": "x".repeat(size)}).to_string();
    let large = [100 << 10, 1 << 20, 4 << 20].map(|size| infer(padded(size)));
    let gzip = infer(of(candidate)).header("content-encoding", "gzip");
    let empty = infer("").header(HEADER, candidate);
    for request in large.into_iter().chain([gzip, empty]) {
        assert_eq!(send(&client, request).await.header_text("x-model").as_deref(), Some(BASELINE));
    }
    // 60 KiB are within the limit.
    assert_eq!(
        send(&client, infer(padded(60 << 10))).await.header_text("x-model").as_deref(),
        Some(ENHANCED)
    );

    // While the filter is absent, the script keeps clients from choosing: there is no guard.
    let name = "trafficextension/sidetrack-financial-ab-test";
    mesh.kubectl(&["-n", &stand.ingress, "delete", name]).unwrap();
    let begun = Instant::now();
    while send(&client, infer(of(candidate))).await.header_text("x-model").as_deref()
        != Some(BASELINE)
    {
        assert!(begun.elapsed() < Duration::from_secs(20), "the filter is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (name, value) in
        [("x-ab-variant", ENHANCED), ("X-AB-Variant", ENHANCED), (HEADER, candidate)]
    {
        let answer = send(&client, infer(of(candidate)).header(name, value)).await;
        assert_eq!(answer.header_text("x-model").as_deref(), Some(BASELINE), "{name}");
    }
    let script_errors = gateway.log().lines().filter(|line| line.contains("script log")).count();
    assert_eq!(script_errors, 0, "{}", gateway.log_tail(20));
}

/// The same for the requests of a sidecar, with another source before the body.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_runs_in_sidecars() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut experiment = experiment(30.0);
    experiment["experiments"][0]["unit"] = json!([{"header": "x-user-id"}, {"body": "/user/id"}]);
    let options = ["--topology", "sidecar", "--selector", "app=frontend", "--body-unit", "lua"];
    mesh.apply(&stand.render(&experiment, &options)).unwrap();
    let frontend = stand.client("frontend");
    let assigned = stand.assigned(&experiment, USERS);
    let (addr, host) = (stand.service_addr(), stand.service());
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0.clone();
    let users: Vec<String> = assigned.keys().cloned().collect();
    let log = frontend.log_tail(5);
    let served = frontend
        .run_inside(move || async move {
            let client = Client::new(addr);
            let request = |id: &str| {
                let body = json!({"user": {"id": id}}).to_string();
                Request::post("/v2/models/forecast/infer", body).header("host", &host)
            };
            arrives(&client, || request(&candidate), || log.clone()).await;
            let mut served = BTreeMap::new();
            for user in users {
                let model = send(&client, request(&user)).await.header_text("x-model");
                // The header counts before the body.
                let by_header = request("someone else").header("x-user-id", &user);
                assert_eq!(send(&client, by_header).await.header_text("x-model"), model, "{user}");
                served.insert(user, model.unwrap_or_default());
            }
            Ok(served)
        })
        .unwrap();
    assert_eq!(served, assigned);
}
