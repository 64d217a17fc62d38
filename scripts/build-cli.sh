#!/usr/bin/env bash
# Builds the command: dist/sidetrack.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release -p sidetrack-cli
mkdir -p dist
# Copied to a temporary file and renamed: the old one may be running.
cp "${CARGO_TARGET_DIR:-target}/release/sidetrack" dist/sidetrack.new
mv dist/sidetrack.new dist/sidetrack
