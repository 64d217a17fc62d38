//! The manifests for the Gateway API: their rules, and what is refused.

use serde_json::{Value, json};

use super::*;

pub(crate) const FILE: &str = r#"
experiments:
  - name: forecast
    match:
      hosts: [predictor.example.com]
      path: {prefix: /v2/models/forecast}
      methods: [POST]
      headers: [{name: x-tenant, exact: acme}]
    unit: [{header: x-user-id}]
    baseline: old
    variants:
      - {name: old, cluster: forecast-old}
      - name: new
        cluster: forecast-new
        weight: 30
        path: {replace_prefix: [/v2/models/forecast, /v2/models/forecast-2]}
    mirror: {cluster: shadow, percent: 10}
"#;

pub(crate) const GATEWAY: [&str; 6] =
    ["--gateway", "ingress/public", "--namespace", "models", "--port", "8080"];

fn render(target: &str, file: &str, options: &[&str]) -> std::process::Output {
    run(&[&["render", target, "-"], options].concat(), file.as_bytes())
}

pub(crate) fn objects(target: &str, file: &str, options: &[&str]) -> Vec<Value> {
    let output = render(target, file, options);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_saphyr::from_multiple(stdout(&output)).unwrap()
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|it| it["kind"] == kind).collect()
}

/// The rules of all routes, by name.
fn rule<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let mut rules = of_kind(objects, "HTTPRoute")
        .into_iter()
        .flat_map(|route| route["spec"]["rules"].as_array().unwrap());
    rules.find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("{name}: {objects:#?}"))
}

pub(crate) fn refused(target: &str, file: &str, options: &[&str]) -> String {
    let output = render(target, file, options);
    assert_ne!(code(&output), 0, "{}", stdout(&output));
    assert_eq!(stdout(&output), "");
    stderr(&output).to_owned()
}

#[test]
fn tagged_requests_win_over_those_without_a_tag_by_their_headers() {
    let objects = objects("gateway-api", FILE, &GATEWAY);
    let tagged = rule(&objects, "forecast.new");
    assert_eq!(tagged["backendRefs"], json!([{"name": "forecast-new", "port": 8080}]));
    // The path is the one that the filter has written, with the method of the experiment.
    assert_eq!(
        tagged["matches"][0],
        json!({
            "path": {"type": "PathPrefix", "value": "/v2/models/forecast-2"},
            "method": "POST",
            "headers": [
                {"type": "Exact", "name": "x-ab-variant", "value": "new"},
                {"type": "Exact", "name": "x-ab-experiment", "value": "forecast"},
                {"type": "Exact", "name": "x-tenant", "value": "acme"},
            ],
        })
    );
    let untagged = rule(&objects, "forecast.bypass");
    assert_eq!(untagged["backendRefs"], json!([{"name": "forecast-old", "port": 8080}]));
    assert_eq!(
        untagged["matches"][0],
        json!({
            "path": {"type": "PathPrefix", "value": "/v2/models/forecast"},
            "method": "POST",
            "headers": [{"type": "Exact", "name": "x-tenant", "value": "acme"}],
        })
    );
    // Requests with the experiment's paths that it does not take are not answered with 404.
    let rest = rule(&objects, "forecast.baseline");
    assert_eq!(
        rest["matches"],
        json!([
            {"path": {"type": "PathPrefix", "value": "/v2/models/forecast"}},
            {"path": {"type": "RegularExpression", "value": "/v2/models/forecast[^/].*"}},
        ])
    );
    assert_eq!(rest["backendRefs"], json!([{"name": "forecast-old", "port": 8080}]));
}

#[test]
fn no_rule_lets_the_filters_headers_reach_a_model() {
    let objects = objects("gateway-api", FILE, &GATEWAY);
    for route in of_kind(&objects, "HTTPRoute") {
        for rule in route["spec"]["rules"].as_array().unwrap() {
            let removed = &rule["filters"][0]["requestHeaderModifier"]["remove"];
            for name in ["x-ab-cluster", "x-ab-mirror", "x-ab-force", "x-ab-token", "x-ab-debug"] {
                assert!(removed.as_array().unwrap().contains(&json!(name)), "{name}: {rule}");
            }
        }
    }
}

#[test]
fn all_resources_have_labels_and_a_name_of_their_own() {
    let options = [&GATEWAY[..], &["--label", "team=risk"]].concat();
    for target in ["gateway-api", "envoy-gateway"] {
        for object in
            objects(target, &FILE.replace("name: forecast\n", "name: Fore_cast\n"), &options)
        {
            let metadata = &object["metadata"];
            assert!(
                metadata["name"].as_str().unwrap().starts_with("sidetrack-fore-cast"),
                "{object}"
            );
            let labels = json!({
                "app.kubernetes.io/name": "sidetrack",
                "app.kubernetes.io/part-of": "sidetrack-fore-cast",
                "team": "risk",
            });
            assert_eq!(metadata["labels"], labels, "{object}");
        }
    }
}

#[test]
fn a_copy_is_requested_by_a_header_of_its_own() {
    let objects = objects("gateway-api", FILE, &GATEWAY);
    let copied = rule(&objects, "forecast.new.shadow");
    let headers = copied["matches"][0]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!({"type": "Exact", "name": "x-ab-mirror", "value": "shadow"})));
    assert_eq!(
        copied["filters"][1],
        json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 8080}}})
    );
}

#[test]
fn the_filter_and_the_guard_are_bound_to_the_gateway_or_the_service() {
    let target =
        |objects: &[Value], kind: &str| of_kind(objects, kind)[0]["spec"]["targetRefs"][0].clone();
    let gateway = objects("gateway-api", FILE, &GATEWAY);
    let public = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"});
    for kind in ["EnvoyFilter", "WasmPlugin", "Telemetry"] {
        assert_eq!(target(&gateway, kind), public, "{kind}");
        assert_eq!(of_kind(&gateway, kind)[0]["metadata"]["namespace"], "ingress");
    }
    let options = [
        "--waypoint",
        "mesh/waypoint",
        "--service",
        "predictor",
        "--namespace",
        "models",
        "--port",
        "80",
    ];
    let waypoint = objects("gateway-api", FILE, &options);
    let service = json!({"group": "", "kind": "Service", "name": "predictor"});
    for kind in ["WasmPlugin", "Telemetry"] {
        assert_eq!(target(&waypoint, kind), service, "{kind}");
        assert_eq!(of_kind(&waypoint, kind)[0]["metadata"]["namespace"], "models");
    }
    let guard = of_kind(&waypoint, "EnvoyFilter")[0];
    assert_eq!(guard["spec"]["targetRefs"][0]["name"], "waypoint");
    assert_eq!(guard["metadata"]["namespace"], "mesh");
    // A route of a service answers 404 where no rule matches, so the rest goes where it went.
    assert_eq!(rule(&waypoint, "other")["backendRefs"], json!([{"name": "predictor", "port": 80}]));
    let parent = &of_kind(&waypoint, "HTTPRoute")[0]["spec"]["parentRefs"][0];
    assert_eq!(parent, &json!({"group": "", "kind": "Service", "name": "predictor", "port": 80}));
}

#[test]
fn rules_beside_a_route_repeat_its_requests_and_leave_them_in_place() {
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: predictor, namespace: models}
spec:
  parentRefs: [{name: public, namespace: ingress}]
  hostnames: [predictor.example.com]
  rules:
  - matches:
    - {path: {type: PathPrefix, value: /forecast/v2}, method: POST, headers: [{name: x-a, value: b}]}
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /v2}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-b, value: c}], remove: [x-c]}}
    backendRefs: [{name: forecast-old, port: 9000, weight: 80}, {name: canary, port: 9000, weight: 20}]
    timeouts: {request: 90s}
  - matches: [{path: {type: PathPrefix, value: /other}}]
    backendRefs: [{name: other, port: 9000}]
";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("route.yaml");
    std::fs::write(&path, route).unwrap();
    let path = path.display().to_string();
    let simple = "
experiments:
  - name: forecast
    unit: [{header: x-user-id}]
    baseline: old
    variants: [{name: old, cluster: forecast-old}, {name: new, cluster: forecast-new, weight: 30}]
";
    let objects =
        objects("gateway-api", simple, &["--gateway", "ingress/public", "--beside", &path]);
    let routes = of_kind(&objects, "HTTPRoute");
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0]["metadata"]["name"], "sidetrack-forecast");
    assert_eq!(routes[0]["metadata"]["namespace"], "models");
    assert_eq!(routes[0]["spec"]["hostnames"], json!(["predictor.example.com"]));
    assert_eq!(
        routes[0]["spec"]["parentRefs"],
        json!([{"name": "public", "namespace": "ingress"}])
    );
    let rules = routes[0]["spec"]["rules"].as_array().unwrap();
    let names: Vec<&Value> = rules.iter().map(|rule| &rule["name"]).collect();
    assert_eq!(names, ["forecast.old", "forecast.new"], "only tagged requests");
    let new = &rules[1];
    assert_eq!(new["backendRefs"], json!([{"name": "forecast-new", "port": 9000}]));
    assert_eq!(new["timeouts"], json!({"request": "90s"}));
    assert_eq!(new["matches"].as_array().unwrap().len(), 1);
    let matched = &new["matches"][0];
    assert_eq!(matched["path"], json!({"type": "PathPrefix", "value": "/forecast/v2"}));
    assert_eq!(matched["method"], "POST");
    assert_eq!(
        matched["headers"].as_array().unwrap().len(),
        3,
        "one more than the route's own, and one"
    );
    assert_eq!(new["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"], "/v2");
    let modifier = &new["filters"][1]["requestHeaderModifier"];
    assert_eq!(modifier["set"], json!([{"name": "x-b", "value": "c"}]));
    assert_eq!(modifier["remove"][0], "x-c");
    assert!(modifier["remove"].as_array().unwrap().contains(&json!("x-ab-force")));

    let stray = simple.replace("cluster: forecast-old", "cluster: nowhere");
    let why = refused("gateway-api", &stray, &["--gateway", "ingress/public", "--beside", &path]);
    assert!(
        why.contains("nowhere.models:9000") && why.contains("canary, forecast-old, other"),
        "{why}"
    );
}

#[test]
fn pools_of_the_inference_gateway_and_backends_elsewhere() {
    let options = [
        "--gateway",
        "ingress/public",
        "--namespace",
        "models",
        "--backend-kind",
        "inferencepool",
        "--destination",
        "old=service/legacy.archive:81",
        "--destination",
        "shadow=shadow.archive:82",
    ];
    let objects = objects("gateway-api", FILE, &options);
    assert_eq!(
        rule(&objects, "forecast.new")["backendRefs"],
        json!([{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "forecast-new"}])
    );
    assert_eq!(
        rule(&objects, "forecast.old")["backendRefs"],
        json!([{"name": "legacy", "namespace": "archive", "port": 81}])
    );
    let grants = of_kind(&objects, "ReferenceGrant");
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0]["metadata"]["namespace"], "archive");
    assert_eq!(
        grants[0]["spec"]["to"],
        json!([
            {"group": "", "kind": "Service", "name": "legacy"},
            {"group": "", "kind": "Service", "name": "shadow"},
        ])
    );
}

#[test]
fn knative_gets_the_host_of_each_service() {
    let options =
        [&GATEWAY[..], &["--rewrite-host", "--through", "local-gateway.knative:80"]].concat();
    let objects = objects("gateway-api", FILE, &options);
    let new = rule(&objects, "forecast.new");
    assert_eq!(
        new["backendRefs"],
        json!([{"name": "local-gateway", "namespace": "knative", "port": 80}])
    );
    assert_eq!(
        new["filters"][1],
        json!({"type": "URLRewrite", "urlRewrite": {"hostname": "forecast-new.models.svc.cluster.local"}})
    );
}

#[test]
fn many_experiments_make_several_routes_within_the_limits() {
    let one = |i: usize| {
        format!(
            "  - name: e{i}\n    match: {{hosts: [a.example.com], path: {{prefix: /m{i}}}, methods: [GET, POST, PUT]}}\n    \
             unit: [{{header: u}}]\n    baseline: b{i}\n    variants: [{{name: b{i}}}, {{name: c{i}, weight: 5}}]\n"
        )
    };
    let file = format!("experiments:\n{}", (0..20).map(one).collect::<String>());
    let objects = objects("gateway-api", &file, &GATEWAY);
    let routes = of_kind(&objects, "HTTPRoute");
    assert!(routes.len() > 4, "{}", routes.len());
    let mut rules = 0;
    for route in routes {
        let all = route["spec"]["rules"].as_array().unwrap();
        let matches: usize = all.iter().map(|rule| rule["matches"].as_array().unwrap().len()).sum();
        assert!(all.len() <= 16 && matches <= 128, "{} rules, {matches} matches", all.len());
        rules += all.len();
    }
    assert_eq!(rules, 20 * 4, "two variants, the bypass and the rest of the path each");
}

#[test]
fn what_the_gateway_api_cannot_express_is_refused() {
    let body = FILE.replace("{header: x-user-id}", "{body: /user}");
    let open = FILE
        .replace("hosts: [predictor.example.com]", "methods: [PUT]")
        .replace("      methods: [POST]\n", "");
    let method = FILE.replace("[POST]", "[PURGE]");
    let address = FILE.replace("predictor.example.com", "127.0.0.1");
    for (file, options, expected) in [
        (body.as_str(), &GATEWAY[..], "experiments[0].unit[0].body needs the body of a request"),
        (open.as_str(), &GATEWAY[..], "the experiment forecast has no match.hosts"),
        (method.as_str(), &GATEWAY[..], "the method PURGE does not exist in the Gateway API"),
        (address.as_str(), &GATEWAY[..], "does not accept the host 127.0.0.1"),
        (FILE, &["--gateway", "ingress/public"][..], "has no port"),
        (FILE, &["--gateway", "public"][..], "expected NAMESPACE/NAME"),
        (FILE, &["--namespace", "models"][..], "--gateway"),
        (FILE, &["--waypoint", "a/b", "--port", "80"][..], "--service"),
        (
            FILE,
            &[&GATEWAY[..], &["--host", "other.example.com"]].concat(),
            "no experiment matches this host",
        ),
        (
            FILE,
            &[&GATEWAY[..], &["--destination", "nwe=x"]].concat(),
            "unknown variant or cluster \"nwe\"",
        ),
        (
            FILE,
            &[&GATEWAY[..], &["--timeout", "1 hour"]].concat(),
            "must be a duration such as 60s",
        ),
    ] {
        let why = refused("gateway-api", file, options);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn envoy_gateway_runs_the_filter_where_requests_have_no_tag() {
    let objects = objects("envoy-gateway", FILE, &GATEWAY);
    let policy = of_kind(&objects, "EnvoyExtensionPolicy")[0];
    let routes: Vec<&Value> =
        of_kind(&objects, "HTTPRoute").into_iter().map(|it| &it["metadata"]["name"]).collect();
    let targets: Vec<&Value> =
        policy["spec"]["targetRefs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(targets, routes);
    let wasm = &policy["spec"]["wasm"][0];
    assert_eq!(wasm["failOpen"], true);
    assert_eq!(wasm["code"]["type"], "Image");
    assert_eq!(wasm["config"]["settings"]["proxy"], json!({"exposures": true}));
    assert_eq!(
        wasm["config"]["experiments"][0]["variants"][0],
        json!({"name": "old"}),
        "no clusters"
    );
    let guard = &of_kind(&objects, "ClientTrafficPolicy")[0]["spec"];
    assert_eq!(guard["targetRefs"][0]["name"], "public");
    let removed = guard["headers"]["earlyRequestHeaders"]["remove"].as_array().unwrap();
    assert!(removed.contains(&json!("x-ab-variant")) && !removed.contains(&json!("x-ab-force")));
    let counter = &of_kind(&objects, "BackendTrafficPolicy")[0]["spec"];
    assert_eq!(counter["targetRefs"][0]["sectionName"], "forecast.bypass");
    assert_eq!(counter["telemetry"]["metrics"]["routeStatName"], "sidetrack-bypass-forecast");
    assert_eq!(of_kind(&objects, "SecurityPolicy"), [] as [&Value; 0]);
}

#[test]
fn a_token_sets_the_unit_and_a_clients_own_value_is_removed() {
    let jwt = [
        "--jwt-issuer",
        "https://login.example.com",
        "--jwks-uri",
        "https://login.example.com/keys",
    ];
    let objects = objects("envoy-gateway", FILE, &[&GATEWAY[..], &jwt].concat());
    let provider = &of_kind(&objects, "SecurityPolicy")[0]["spec"]["jwt"]["providers"][0];
    assert_eq!(provider["claimToHeaders"], json!([{"claim": "sub", "header": "x-user-id"}]));
    let guard =
        &of_kind(&objects, "ClientTrafficPolicy")[0]["spec"]["headers"]["earlyRequestHeaders"];
    assert!(guard["remove"].as_array().unwrap().contains(&json!("x-user-id")));
    let why = refused("envoy-gateway", FILE, &[&GATEWAY[..], &jwt, &["--no-guard"]].concat());
    assert!(why.contains("could send any identity"), "{why}");
    let cookie = FILE.replace("{header: x-user-id}", "{cookie: session}");
    let why = refused("envoy-gateway", &cookie, &[&GATEWAY[..], &jwt].concat());
    assert!(why.contains("needs a header as the first source of the unit"), "{why}");
}

#[test]
fn the_file_in_the_manifests_is_one_that_check_accepts() {
    for target in ["gateway-api", "envoy-gateway"] {
        let output = render(target, FILE, &GATEWAY);
        let checked = run(&["check", "-"], &output.stdout);
        assert_eq!(code(&checked), 0, "{target}: {}", stderr(&checked));
    }
}
