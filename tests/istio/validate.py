"""Checks manifests against Istio's schemas, as a cluster would, and more strictly: unknown fields are mistakes.

    .tools/py/bin/python tests/istio/validate.py FILE...

Exits 1 when a manifest is wrong and says where; 2 when it could not check.
"""

import copy
import importlib
import json
import pathlib
import sys

try:
    import cloudcoil.models.istio  # noqa: F401
    import jsonschema
    import pydantic
    import yaml
except ImportError as error:
    print(f"{error}: run make setup, and this script with .tools/py/bin/python", file=sys.stderr)
    sys.exit(2)


# Values that Istio has and these schemas, which are of Istio 1.24, do not have yet: a value that they do have instead.
NEWER = {
    # Istio 1.27, istio/api#3471.
    ("WasmPlugin", "spec", "failStrategy", "FAIL_RELOAD"): "FAIL_CLOSE",
}

# Kinds that Istio has and these schemas do not have yet: our own account of what the API takes.
HERE = pathlib.Path(__file__).parent
OWN = {
    # Istio 1.30.
    ("extensions.istio.io/v1alpha1", "TrafficExtension"): HERE / "trafficextension.schema.json",
    # Argo CD 3.
    ("argoproj.io/v1alpha1", "Application"): HERE / "application.schema.json",
}


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates stay text, a repeated key is a mistake."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def model_of(manifest):
    """The schema of this apiVersion and kind."""
    api, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
    group, _, version = api.partition("/")
    if not group.endswith(".istio.io"):
        raise LookupError(f"apiVersion {api!r} is none of Istio's")
    package = f"cloudcoil.models.istio.{group.removesuffix('.istio.io')}"
    try:
        return getattr(importlib.import_module(f"{package}.{version}"), kind)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(package):
            raise
        raise LookupError(f"Istio has no apiVersion {api!r}") from None
    except AttributeError:
        raise LookupError(f"Istio's {api} has no kind {kind!r}") from None


def with_older_values(manifest):
    """A copy in which these schemas know all values."""
    manifest = copy.deepcopy(manifest)
    for (kind, part, field, value), older in NEWER.items():
        group = manifest.get(part)
        if manifest.get("kind") == kind and isinstance(group, dict) and group.get(field) == value:
            group[field] = older
    return manifest


def unknown(given, taken, path):
    """The fields that were given and that the schema did not take over: pydantic drops them without a word."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            if key in taken:
                yield from unknown(value, taken[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: Istio has no such field here"
    elif isinstance(given, list) and isinstance(taken, list):
        for i, pair in enumerate(zip(given, taken)):
            yield from unknown(*pair, f"{path}[{i}]")


def by_own_schema(manifest, file):
    """The complaints of a JSON Schema in this folder."""
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        yield f"{error.json_path.removeprefix('$.')}: {error.message}"


def both_ways(manifest):
    """What the cluster refuses by a rule that no schema holds: a policy that says twice what it is for."""
    spec = manifest.get("spec")
    if isinstance(spec, dict) and "selector" in spec and "targetRefs" in spec:
        yield "spec: only one of targetRefs or selector can be set"


def problems(manifest):
    if not isinstance(manifest, dict):
        yield "no manifest: it holds no keys"
        return
    own = OWN.get((manifest.get("apiVersion"), manifest.get("kind")))
    if own:
        yield from by_own_schema(manifest, own)
        yield from both_ways(manifest)
        return
    yield from both_ways(manifest)
    manifest = with_older_values(manifest)
    try:
        model = model_of(manifest)
    except LookupError as error:
        yield error.args[0]
        return
    try:
        read = model.model_validate_json(json.dumps(manifest), strict=True)
    except pydantic.ValidationError as error:
        for one in error.errors():
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in one["loc"])
            yield f"{path.lstrip('.')}: {one['msg']}, found {one['input']!r}"
        return
    taken = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for problem in unknown(manifest, taken, ""):
        yield problem.lstrip(".")


def main(paths):
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    wrong = False
    for path in map(pathlib.Path, paths):
        try:
            manifests = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader))
        except (OSError, UnicodeDecodeError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        except yaml.YAMLError as error:
            print(f"{path}: {' '.join(str(error).split())}", file=sys.stderr)
            wrong = True
            continue
        for problem in [problem for manifest in manifests for problem in problems(manifest)]:
            print(f"{path}: {problem}", file=sys.stderr)
            wrong = True
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
