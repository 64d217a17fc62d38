"""What is compared: Envoy configurations that differ in nothing but the way a request gets its variant.

Each setup answers the same question for the same request: 30 percent of the users get the enhanced model, the model
and the caller learn which one served. All clusters are the same upstream, an Envoy that answers at once.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
EXPERIMENT, BASELINE, ENHANCED = "financial-ab-test", "baseline-predictor", "enhanced-predictor"
PATH = "/v2/models/forecast/infer"


@dataclass
class Setup:
    """A configuration and the request that it is measured with."""

    key: str
    name: str
    config: dict
    # The setup whose total is taken off to say what this one adds.
    base: str = "plain"
    headers: dict = field(default_factory=dict)
    body: str = ""
    # Whether it draws by the recipe, so that every answer can be checked.
    draws: bool = False
    # What an answer to a user of the enhanced model must carry, so that nothing is measured that does not work.
    expects: tuple = ()

    def request(self, user: int) -> bytes:
        """The bytes of one request. Users differ, so that both models are drawn."""
        body = self.body % user if self.body else ""
        lines = {
            "host": "predictor.example.com",
            "user-agent": "bench/1",
            "accept": "application/json",
            "x-user-id": f"user-{user:06}",
            **self.headers,
        }
        if body:
            lines |= {"content-type": "application/json", "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{'POST' if body else 'GET'} {PATH} HTTP/1.1\r\n{head}\r\n{body}".encode()


def variant(user: int) -> str:
    """The recipe (docs/configuration.md) once more."""
    digest = hashlib.sha256(f"arm1\0{EXPERIMENT}\0user-{user:06}".encode()).digest()
    bucket = int.from_bytes(digest[:8], "big") * 1_000_000 >> 64
    return ENHANCED if bucket < 300_000 else BASELINE


def upstream() -> dict:
    """The Envoy that answers at once."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    return bootstrap([], [route], [])


def all_setups(port: int, wasm: Path, empty: Path) -> list[Setup]:
    """The setups in the order of the table; `port` is the upstream's."""

    def setup(key, name, filters, routes, loggers=None, **more):
        return Setup(key, name, bootstrap(filters, routes, clusters(port), loggers), **more)

    told = ("x-ab-variant",)
    return [
        setup("plain", "plain route", [], [to(BASELINE)]),
        setup("weighted", "weighted clusters, `use_hash_policy`", [], [weighted()], expects=told),
        setup("fnv", "Lua, FNV", [lua("split.lua")], [by_header(), to(BASELINE)], expects=told),
        setup("same", "Lua, the same draw", [lua("same.lua")], [by_header(), to(BASELINE)], expects=told, draws=True),
        setup("empty", "empty proxy-wasm filter", [module("empty", empty)], [to(BASELINE)]),
        setup(
            "full",
            "Sidetrack, full",
            [sidetrack(wasm, full(), CLEAN)],
            [by_header(), to(BASELINE)],
            [failures(wasm, CLEAN)],
            expects=told,
            draws=True,
        ),
        setup(
            "lean",
            "Sidetrack, lean",
            [sidetrack(wasm, lean(), {"SIDETRACK_ROUTES_TELL": "1", **CLEAN})],
            [tagged(BASELINE), tagged(ENHANCED), to(BASELINE)],
            [failures(wasm, {"SIDETRACK_ROUTES_TELL": "1", **CLEAN})],
            expects=told,
            draws=True,
        ),
        setup(
            "mirrored",
            "plain route, POST and mirror",
            [],
            [to(BASELINE, mirror())],
            headers={"x-ab-debug": "1"},
            body=BODY,
        ),
        setup(
            "all",
            "Sidetrack, full, unit in the body, mirror, debug",
            [sidetrack(wasm, everything(), {"SIDETRACK_WAIT_FOR_BODIES": "1", **CLEAN})],
            [by_header(mirror()), to(BASELINE)],
            [failures(wasm, {"SIDETRACK_WAIT_FOR_BODIES": "1", **CLEAN})],
            base="mirrored",
            headers={"x-ab-debug": "1"},
            body=BODY,
            expects=("x-ab-variant", "x-ab-bucket"),
            draws=True,
        ),
    ]


def behind_processor(model_port: int, port: int) -> Setup:
    """The same answer from a service behind `ext_proc`, which is asked on the way up and on the way down."""
    service = {"grpc_service": {"envoy_grpc": {"cluster_name": "processor"}, "timeout": "30s"}, "message_timeout": "30s"}
    mode = {"request_header_mode": "SEND", "response_header_mode": "SEND"}
    ask = http_filter("processor", "http.ext_proc.v3.ExternalProcessor", service | {"processing_mode": mode})
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    grpc = cluster("processor", port) | {"typed_extension_protocol_options": options}
    config = bootstrap([ask], [by_header(), to(BASELINE)], [*clusters(model_port), grpc])
    return Setup("processor", "`ext_proc`, Python over gRPC", config, expects=("x-ab-variant",), draws=True)


# The routes remove the filter's headers from responses, as `sidetrack render envoy` writes it.
CLEAN = {"SIDETRACK_ROUTES_CLEAN": "1"}
OWNED = "experiment variant assigned phase cluster mirror force token debug reason bucket breaker config".split()

BODY = '{"user_id": "user-%06d", "inputs": [1, 2, 3]}'


# Experiment files


def full() -> dict:
    """All that a plain experiment has: clusters, a breaker, headers both ways."""
    return {
        "experiments": [
            {
                "name": EXPERIMENT,
                "match": {"path": {"prefix": "/v2/models/forecast"}},
                "unit": [{"header": "x-user-id"}],
                "baseline": BASELINE,
                "variants": [
                    {"name": BASELINE, "cluster": BASELINE},
                    {"name": ENHANCED, "cluster": ENHANCED, "weight": 30},
                ],
            }
        ]
    }


def lean() -> dict:
    """The filter only tags; the routes do the rest."""
    file = full()
    for variant in file["experiments"][0]["variants"]:
        del variant["cluster"]
    return file


def everything() -> dict:
    """The unit in the body, every request mirrored, the explanation for whoever asks."""
    file = full()
    file["experiments"][0] |= {"unit": [{"body": "/user_id"}], "mirror": {"cluster": "mirror"}}
    return file | {"settings": {"debug": "allowed"}}


# Routes


def to(cluster: str, more: dict | None = None) -> dict:
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster, **(more or {})}}


def by_header(more: dict | None = None) -> dict:
    """As `sidetrack render envoy` writes it: the filter has chosen a cluster."""
    headers = [{"name": "x-ab-cluster", "present_match": True}]
    return {
        "match": {"prefix": "/", "headers": headers},
        "route": {"cluster_header": "x-ab-cluster", **(more or {})},
    }


def mirror() -> dict:
    return {"request_mirror_policies": [{"cluster": "mirror"}]}


def weighted() -> dict:
    """Envoy's own split: the user's hash picks a cluster."""

    def share(cluster: str, weight: int) -> dict:
        return {"name": cluster, "weight": weight, **both_ways(cluster)}

    return {
        "match": {"prefix": "/"},
        "route": {
            "weighted_clusters": {
                "clusters": [share(BASELINE, 70), share(ENHANCED, 30)],
                "use_hash_policy": True,
            },
            "hash_policy": [{"header": {"header_name": "x-user-id"}}],
        },
    }


def both_ways(variant: str) -> dict:
    told = added({"x-ab-experiment": EXPERIMENT, "x-ab-variant": variant})
    return {"request_headers_to_add": told, "response_headers_to_add": told}


def tagged(variant: str) -> dict:
    """As `sidetrack render envoy --lean` writes it: a variant's route names the cluster and tells model and caller."""
    told = {"x-ab-experiment": EXPERIMENT, "x-ab-variant": variant}
    if variant == BASELINE:
        told["x-ab-assigned"] = "%REQ(x-ab-assigned)%"
    return {
        "match": {"prefix": "/", "headers": [{"name": "x-ab-variant", "string_match": {"exact": variant}}]},
        "request_headers_to_add": [{"header": {"key": "x-ab-experiment", "value": EXPERIMENT}}],
        "response_headers_to_add": [{"header": {"key": k, "value": v}} for k, v in told.items()],
        "route": {"cluster": variant},
    }


def added(headers: dict) -> list[dict]:
    action = "OVERWRITE_IF_EXISTS_OR_ADD"
    return [{"header": {"key": k, "value": v}, "append_action": action} for k, v in headers.items()]


# Filters


def http_filter(name: str, kind: str, body: dict) -> dict:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **body}}


def lua(script: str) -> dict:
    code = (HERE / script).read_text()
    return http_filter("lua", "http.lua.v3.Lua", {"default_source_code": {"inline_string": code}})


def module(name: str, path: Path, configuration: str = "", environment: dict | None = None) -> dict:
    variables = {"environment_variables": {"key_values": environment}} if environment else {}
    config = {
        "name": name,
        "root_id": name,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(path)}},
            **variables,
        },
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
    }
    if environment and "SIDETRACK_WAIT_FOR_BODIES" in environment:
        config["allow_on_headers_stop_iteration"] = True
    return http_filter(name, "http.wasm.v3.Wasm", {"config": config})


def sidetrack(wasm: Path, file: dict, environment: dict | None = None) -> dict:
    return module("sidetrack", wasm, json.dumps(file), environment)


# The rest of Envoy


def clusters(port: int) -> list[dict]:
    return [cluster(name, port) for name in (BASELINE, ENHANCED, "mirror")]


def cluster(name: str, port: int) -> dict:
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def failures(wasm: Path, environment: dict | None = None) -> dict:
    """As `sidetrack render envoy` writes it: Envoy logs only requests that may have failed to the module."""
    status = {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "-"}}}}
    plugin = module("sidetrack", wasm, "failures", environment)["typed_config"]["config"] | {"name": "sidetrack-failures"}
    return {
        "name": "envoy.access_loggers.wasm",
        "filter": {"or_filter": {"filters": [status, {"response_flag_filter": {}}]}},
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog",
            "config": plugin,
        },
    }


def bootstrap(filters: list[dict], routes: list[dict], clusters: list[dict], loggers: list[dict] | None = None) -> dict:
    hcm = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "access_log": loggers or [],
        "http_filters": [*filters, http_filter("router", "http.router.v3.Router", {})],
        "route_config": {
            # As rendered for Sidetrack: the cluster's name never reaches the model.
            "request_headers_to_remove": ["x-ab-cluster", "x-ab-mirror"],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
    }
    if loggers:
        # As rendered for Sidetrack: a model's copies of the filter's headers never reach the client.
        hcm["route_config"] |= {
            "response_headers_to_remove": [f"x-ab-{name}" for name in OWNED],
            "most_specific_header_mutations_wins": True,
        }
    chain = {"filters": [{"name": "http", "typed_config": hcm}]}
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": address(0)},
        "stats_flush_interval": "299s",
        "static_resources": {
            "listeners": [{"name": "bench", "address": address(0), "filter_chains": [chain]}],
            "clusters": clusters,
        },
    }
