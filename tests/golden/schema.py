"""Checks experiment files against the JSON Schema.

    .tools/py/bin/python tests/golden/schema.py SCHEMA FILE...

Exits 1 when a file does not fit and says where.
"""

import json
import pathlib
import sys

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates stay text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

schema, *files = map(pathlib.Path, sys.argv[1:])
validator = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
validator.check_schema(validator.schema)
wrong = False
for file in files:
    text = file.read_text(encoding="utf-8")
    data = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader)
    for error in validator.iter_errors(data):
        print(f"{file.name}: {error.json_path}: {error.message}", file=sys.stderr)
        wrong = True
sys.exit(int(wrong))
