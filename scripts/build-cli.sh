#!/usr/bin/env bash
# Builds the command with the filter inside: dist/sidetrack. It needs dist/sidetrack.wasm (scripts/build-wasm.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ -f dist/sidetrack.wasm ] || { echo "build-cli: error: dist/sidetrack.wasm does not exist: run make wasm" >&2; exit 1; }
SIDETRACK_EMBED="$PWD/dist/sidetrack.wasm" cargo build --release -p sidetrack-cli
mkdir -p dist
# Copied to a temporary file and renamed: the old one may be running.
cp "${CARGO_TARGET_DIR:-target}/release/sidetrack" dist/sidetrack.new
mv dist/sidetrack.new dist/sidetrack
