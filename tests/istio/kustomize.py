"""Builds an overlay as `kubectl kustomize` does, for what `sidetrack render argocd` writes; refuses all else.

    .tools/py/bin/python tests/istio/kustomize.py FOLDER

Knows `resources`, and `patches` by JSON Patch (RFC 6902) with `test` and `replace`.
"""

import pathlib
import sys

try:
    import yaml
except ImportError as error:
    print(f"{error}: run make setup, and this script with .tools/py/bin/python", file=sys.stderr)
    sys.exit(2)

# In C where PyYAML has it: several times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

KNOWN = {"apiVersion", "kind", "resources", "patches"}


class Wrong(Exception):
    """Why a folder cannot be built."""


def build(folder):
    file = folder / "kustomization.yaml"
    wanted = yaml.load(file.read_text(encoding="utf-8"), LOADER)
    if wanted.get("apiVersion") != "kustomize.config.k8s.io/v1beta1" or wanted.get("kind") != "Kustomization":
        raise Wrong(f"{file}: no Kustomization")
    if set(wanted) - KNOWN:
        raise Wrong(f"{file}: {sorted(set(wanted) - KNOWN)} are not known here")
    manifests = []
    for resource in wanted["resources"]:
        path = folder / resource
        if path.is_dir():
            manifests += build(path)
        else:
            manifests += [each for each in yaml.load_all(path.read_text(encoding="utf-8"), LOADER) if each is not None]
    for patch in wanted.get("patches", []):
        if set(patch) != {"target", "patch"} or set(patch["target"]) != {"kind", "name"}:
            raise Wrong(f"{file}: a patch of another form: {patch}")
        kind, name = patch["target"]["kind"], patch["target"]["name"]
        found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
        if not found:
            raise Wrong(f"{file}: no {kind} {name} to patch")
        for manifest in found:
            for operation in yaml.load(patch["patch"], LOADER):
                apply(manifest, operation, file)
    return manifests


def apply(manifest, operation, file):
    if set(operation) != {"op", "path", "value"}:
        raise Wrong(f"{file}: an operation of another form: {operation}")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    place = manifest
    try:
        for step in steps[:-1]:
            place = place[int(step)] if isinstance(place, list) else place[step]
        last = int(steps[-1]) if isinstance(place, list) else steps[-1]
        found = place[last]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise Wrong(f"{file}: nothing is at {operation['path']}") from error
    if operation["op"] == "test":
        if found != operation["value"]:
            raise Wrong(f"{file}: {operation['path']} is {found!r}, not {operation['value']!r}")
    elif operation["op"] == "replace":
        place[last] = operation["value"]
    else:
        raise Wrong(f"{file}: the operation {operation['op']}")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        manifests = build(pathlib.Path(arguments[0]))
    except (OSError, yaml.YAMLError, Wrong) as error:
        print(f"kustomize: {error}", file=sys.stderr)
        return 1
    yaml.dump_all(manifests, sys.stdout, DUMPER, sort_keys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
