#!/usr/bin/env bash
# Builds the module that Envoy loads: dist/sidetrack.wasm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build -p sidetrack-filter --profile wasm --target wasm32-wasip1
mkdir -p dist
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip1/wasm/sidetrack_filter.wasm" dist/sidetrack.wasm
printf 'dist/sidetrack.wasm: %s bytes\n' "$(wc -c < dist/sidetrack.wasm | tr -d ' ')"
