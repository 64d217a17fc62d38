//! The options of each command. One line is one option, or options that belong together, with alternatives.

use super::Random;

/// How rare an option is, and its alternatives.
type Choice = (usize, &'static [&'static [&'static str]]);

/// Options of a command. An experiment that reads bodies needs `--kind envoyfilter`.
pub(super) fn of(command: &str, random: &mut Random) -> Vec<&'static str> {
    let tables: &[&[Choice]] = match command {
        "istio" => &[ISTIO, ISTIO_ALONE],
        "helm" => &[ISTIO, CHART],
        "gateway-api" => &[HTTPROUTES, GATEWAY_API],
        _ => &[HTTPROUTES, ENVOY_GATEWAY],
    };
    let mut options = Vec::new();
    for (rare, alternatives) in tables.iter().flat_map(|table| table.iter()) {
        if random.one_in(*rare) {
            options.extend(random.of(alternatives));
        }
    }
    options
}

const DIGEST: &str = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// What `render istio` and `render helm` share.
const ISTIO: &[Choice] = &[
    (1, &[&["--namespace", "models"], &["--namespace", "default"], &["--namespace", "a-1"]]),
    (
        1,
        &[
            &["--gateway", "istio-ingress/predictor-gateway"],
            &["--gateway", "istio-ingress/predictor-gateway", "--host", "*"],
            &[
                "--gateway",
                "istio-ingress/predictor-gateway",
                "--host",
                "a.example.com",
                "--catch-all",
            ],
            &[
                "--gateway",
                "istio-ingress/g",
                "--host",
                "*.example.com",
                "--filter-namespace",
                "a-1",
            ],
            &[
                "--gateway",
                "a/g",
                "--host",
                "b.example.com",
                "--host",
                "a.example.com",
                "--selector",
                "istio=a",
            ],
            &["--topology", "sidecar"],
            &[
                "--topology",
                "sidecar",
                "--host",
                "predictor",
                "--selector",
                "app=a",
                "--selector",
                "k8s.io/b=c",
            ],
            &[
                "--topology",
                "sidecar",
                "--host",
                "predictor.models",
                "--filter-namespace",
                "clients",
            ],
            &["--topology", "waypoint"],
            &["--topology", "waypoint", "--host", "predictor", "--waypoint", "models/other"],
            &[
                "--topology",
                "waypoint",
                "--host",
                "predictor",
                "--waypoint",
                "w/other",
                "--istio",
                "1.31.1",
            ],
        ],
    ),
    (
        2,
        &[
            &["--service", "predictor"],
            &["--service", "predictor", "--subset-label", "model.example.com/version"],
            &[
                "--service",
                "predictor.other.svc.cluster.local",
                "--subset-namespace",
                "istio-ingress",
            ],
        ],
    ),
    (1, &[&[], &["--port", "80"], &["--port", "8080"], &["--port", "65535"]]),
    (3, &[&["--kind", "trafficextension"], &["--kind", "envoyfilter"], &["--kind", "wasmplugin"]]),
    (5, &[&["--fail-strategy", "reload"], &["--fail-strategy", "open"]]),
    (6, &[&["--no-guard"]]),
    (5, &[&["--name", "sidetrack-2"], &["--name", "team-a"], &["--name", "x"]]),
    (5, &[&["--pull-secret", "registry"]]),
    (
        5,
        &[
            &["--url", "file:///etc/sidetrack.wasm"],
            &["--url", "oci://example.com:5000/a/b:1"],
            &["--url", "https://example.com/x.wasm"],
        ],
    ),
    (5, &[&["--sha256", DIGEST]]),
    (5, &[&["--timeout", "0s"], &["--timeout", "1500ms"], &["--timeout", "1h"]]),
    (
        6,
        &[
            &["--access-log-provider", "envoy"],
            &["--access-log-provider", "a", "--access-log-provider", "b"],
        ],
    ),
    (
        5,
        &[
            &["--jwt-issuer", "https://login.example.com"],
            &[
                "--jwt-issuer",
                "a@b.example",
                "--jwks-uri",
                "https://a.example/keys",
                "--jwt-claim",
                "realm.user",
            ],
            &[
                "--jwt-issuer",
                "https://login.example.com",
                "--jwt-audience",
                "a",
                "--jwt-audience",
                "b",
                "--jwt-required",
            ],
        ],
    ),
    (
        6,
        &[
            &["--override-claim", "groups=testers"],
            &["--override-principal", "cluster.local/ns/qa/sa/tester"],
            &[
                "--override-claim",
                "a.b=c d",
                "--override-claim",
                "a.b=e",
                "--override-principal",
                "cluster.local/ns/*",
            ],
        ],
    ),
    (5, &[&["--trace-tags"]]),
    (5, &[&["--label", "team=a"], &["--label", "example.com/team=a_b.c", "--label", "empty="]]),
    (6, &[&["--istio-revision", "1-31"], &["--istio-revision", "canary"]]),
    (
        8,
        &[
            &["--destination", "model-0-1=other.models.svc.cluster.local:81/v2"],
            &["--destination", "model-0-1=other"],
        ],
    ),
];

const ISTIO_ALONE: &[Choice] = &[
    (8, &[&["--body-unit", "lua"]]),
    (
        5,
        &[
            &["--rewrite-host"],
            &["--rewrite-host", "--through", "local-gateway.knative.svc.cluster.local:80"],
        ],
    ),
    (4, &[&["--route", "envoyfilter"], &["--route", "virtualservice"]]),
    (30, &[&["--merge-into", "tests/golden/istio/newest/given/virtualservice.yaml"]]),
];

const CHART: &[Choice] = &[(4, &[&["--chart-version", "1.2.3-rc.1+build.5"]])];

/// What `render gateway-api` and `render envoy-gateway` share.
const HTTPROUTES: &[Choice] = &[
    (2, &[&["--namespace", "models"], &["--namespace", "a-1"]]),
    (
        1,
        &[
            &["--port", "80"],
            &["--port", "8080"],
            &["--port", "65535"],
            &["--backend-kind", "inferencepool"],
        ],
    ),
    (5, &[&["--name", "sidetrack-2"], &["--name", "x"]]),
    (
        8,
        &[
            &["--destination", "model-0-1=other.elsewhere:81"],
            &["--destination", "model-0-1=inferencepool/pool"],
        ],
    ),
    (
        8,
        &[
            &["--rewrite-host"],
            &["--rewrite-host", "--through", "knative-local-gateway.istio-system:80"],
        ],
    ),
    (5, &[&["--timeout", "60s"], &["--timeout", "1m30s500ms"]]),
    (5, &[&["--label", "team=a"], &["--label", "example.com/team=a_b.c"]]),
    (5, &[&["--listener", "http"]]),
    (5, &[&["--sha256", DIGEST]]),
    (5, &[&["--pull-secret", "registry"]]),
    (6, &[&["--no-guard"]]),
];

const GATEWAY_API: &[Choice] = &[
    (
        1,
        &[
            &["--gateway", "istio-ingress/gateway", "--host", "a.example.com"],
            &["--gateway", "models/gateway", "--host", "*.example.com", "--host", "b.example.org"],
            &["--gateway", "models/gateway", "--any-host"],
            &["--gateway", "models/gateway"],
            &["--waypoint", "models/waypoint", "--service", "predictor"],
            &["--waypoint", "gateways/waypoint", "--service", "predictor"],
        ],
    ),
    (4, &[&["--kind", "trafficextension"], &["--kind", "wasmplugin"]]),
    (5, &[&["--url", "oci://example.com:5000/a/b:1"], &["--url", "https://example.com/x.wasm"]]),
    (5, &[&["--fail-strategy", "reload"], &["--fail-strategy", "open"]]),
    (6, &[&["--access-log-provider", "envoy"]]),
];

const ENVOY_GATEWAY: &[Choice] = &[
    (
        1,
        &[
            &["--gateway", "models/gateway", "--host", "a.example.com"],
            &["--gateway", "ingress/gateway", "--host", "*.example.com", "--host", "b.example.org"],
            &["--gateway", "ingress/gateway", "--any-host"],
            &["--gateway", "models/gateway"],
        ],
    ),
    (3, &[&["--url", "oci://example.com:5000/a/b:1"], &["--url", "https://example.com/x.wasm"]]),
    (
        5,
        &[
            &[
                "--jwt-issuer",
                "https://login.example.com",
                "--jwks-uri",
                "https://login.example.com/keys",
            ],
            &[
                "--jwt-issuer",
                "a@b.example",
                "--jwks-uri",
                "https://a.example/keys",
                "--jwt-claim",
                "user.id",
                "--jwt-audience",
                "a",
            ],
        ],
    ),
    (8, &[&["--envoy-proxy"]]),
];
