#!/usr/bin/env python3
"""Checks that the crates of the workspace depend only on what docs/architecture.md allows them."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORE, PROXY, STATS = "sidetrack", "sidetrack-proxy", "sidetrack-stats"

# Each dependency that a crate may have when it is built for use; its tests may have others.
ALLOWED = {
    CORE: {"rustc-hash", "serde", "serde_json", "sha2", "strsim"},
    PROXY: {CORE},
    "sidetrack-filter": {CORE, PROXY},
    STATS: {"libm"},
    "sidetrack-analysis": {CORE, STATS, "csv", "flate2", "hashbrown", "memchr", "serde", "serde_json"},
}
# The lab starts Envoy and model stubs for anyone, and knows no experiments.
FORBIDDEN = {
    "sidetrack-lab": {CORE, PROXY, STATS, "sidetrack-analysis", "sidetrack-cli", "sidetrack-store"},
    "sidetrack-input": {PROXY, STATS, "sidetrack-cli", "sidetrack-lab", "sidetrack-store"},
    "sidetrack-store": {PROXY, STATS, "sidetrack-cli", "sidetrack-lab"},
}

metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=ROOT, check=True,
                          capture_output=True, text=True, timeout=120)
packages = {package["name"]: package for package in json.loads(metadata.stdout)["packages"]}
problems = [f"{name}: the crate does not exist" for name in {*ALLOWED, *FORBIDDEN} - packages.keys()]
for name, package in packages.items():
    uses = {dependency["name"] for dependency in package["dependencies"] if dependency["kind"] is None}
    not_allowed = (uses - ALLOWED[name] if name in ALLOWED else set()) | uses & FORBIDDEN.get(name, set())
    problems += [f"{name}: must not depend on {other} (docs/architecture.md)" for other in sorted(not_allowed)]
for problem in sorted(problems):
    print(f"check-borders: {problem}", file=sys.stderr)
sys.exit(1 if problems else 0)
