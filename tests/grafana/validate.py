"""Checks dashboards against Grafana's own types: validate.py FILE…

Prints what is wrong, with the path of the value, and exits with 1.
"""

import json
import pathlib
import sys

import jsonschema


def deepest(error):
    """What is wrong, of all alternatives that could be meant, with the one of the panel's own type."""
    while error.context:
        wrong_type = {e.schema_path[0] for e in error.context if e.path and e.path[-1] == "type"}
        likely = [e for e in error.context if e.schema_path[0] not in wrong_type] or error.context
        error = max(likely, key=lambda e: len(e.absolute_path))
    return error


def main(files):
    schema = json.loads(pathlib.Path(__file__).with_name("dashboard.schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    bad = False
    for file in files:
        for error in validator.iter_errors(json.loads(pathlib.Path(file).read_text())):
            error = deepest(error)
            path = ".".join(str(part) for part in error.absolute_path)
            print(f"{file}: {path}: {error.message[:300]}", file=sys.stderr)
            bad = True
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
