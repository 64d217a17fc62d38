//! `--trace-tags`: what a tracer receives. The tracer is a stub that takes OpenTelemetry's protocol over HTTP from the
//! real Envoy, with the configuration that istiod made of the mesh's provider and the rendered Telemetry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use sidetrack_lab::ModelStub;
use sidetrack_tests::mesh::{Mesh, Port};

use crate::stand::{Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 40;

/// The fields of a protobuf message that have a length: number and bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = message.split_first()?;
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    let mut fields = Vec::new();
    while let Some(key) = varint(&mut message) {
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            5 => 4,
            _ => varint(&mut message).map_or(0, |length| usize::try_from(length).unwrap()),
        };
        let (value, rest) = message.split_at(length.min(message.len()));
        if key & 7 == 2 {
            fields.push((key >> 3, value));
        }
        message = rest;
    }
    fields
}

fn inner(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(of, _)| *of == number).map(|(_, value)| value)
}

/// The text attributes of all spans: opentelemetry/proto/collector/trace/v1/trace_service.proto.
fn spans(tracer: &ModelStub) -> Vec<BTreeMap<String, String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut spans = Vec::new();
    for request in tracer.requests().iter().filter(|seen| seen.path == "/v1/traces") {
        let resources = inner(&request.body, 1);
        for span in resources.flat_map(|it| inner(it, 2)).flat_map(|scope| inner(scope, 2)) {
            let attributes = inner(span, 9).filter_map(|attribute| {
                let key = inner(attribute, 1).next()?;
                let value = inner(attribute, 2).next()?;
                Some((text(key), text(inner(value, 1).next().unwrap_or_default())))
            });
            spans.push(attributes.collect());
        }
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_have_the_experiment_the_variant_and_the_trial() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    // The name that the mesh's settings have.
    mesh.kubectl(&["create", "namespace", "tracing"]).unwrap();
    let labels = json!({"app": "spans"});
    let tracer = mesh.model("tracing", "spans", &labels).await.unwrap();
    mesh.service("spans", &labels, &[Port::HTTP], &[&tracer]).unwrap();
    tracer.record(true);
    let sampling = json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "sampling", "namespace": stand.ingress},
        "spec": {"tracing": [{"providers": [{"name": "spans"}], "randomSamplingPercentage": 100}]},
    });
    mesh.apply_objects(&[sampling]).unwrap();
    let experiment = experiment(30.0);
    mesh.apply(&stand.rendered(&experiment, &["--trace-tags"])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    let served = Caller::new(HOST).served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, assigned);

    let begun = Instant::now();
    let spans = loop {
        let spans = spans(&tracer);
        let tagged: Vec<_> =
            spans.iter().filter(|span| span.contains_key("feature_flag.key")).cloned().collect();
        // The exporter sends them in groups.
        if tagged.len() >= 2 * USERS {
            break tagged;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{} spans, {} tagged\n{}",
            spans.len(),
            tagged.len(),
            gateway.log_tail(20)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut variants: BTreeMap<&str, usize> = BTreeMap::new();
    let trial = |line: &serde_json::Value| line["exposure"].to_string();
    let exposures: Vec<String> = gateway.access_log().iter().map(trial).collect();
    for span in &spans {
        assert_eq!(span["feature_flag.key"], "financial-ab-test", "{span:?}");
        *variants.entry(&span["feature_flag.result.variant"]).or_default() += 1;
        let version = &span["feature_flag.version"];
        let whole = exposures.iter().any(|exposure| exposure.contains(version.as_str()));
        assert!(version.len() > 20 && whole, "{version}: {:?}", exposures.first());
    }
    // Each request has a span of the listener and one of the router.
    let (all, candidates) = (spans.len(), assigned.values().filter(|it| *it == ENHANCED).count());
    assert_eq!(variants.get(ENHANCED), Some(&(candidates * all / USERS)), "{variants:?} of {all}");
    println!("{} spans; the first one: {:?}", spans.len(), spans.first());
}
