#!/usr/bin/env bash
# Builds the module that Envoy loads: dist/sidetrack.wasm. The same sources and toolchain give the same bytes, in
# whatever directory: the paths that a panic's message holds are made the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/sidetrack" \
    cargo build --locked -p sidetrack-filter --profile wasm --target wasm32-wasip1
mkdir -p dist
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip1/wasm/sidetrack_filter.wasm" dist/sidetrack.wasm
printf 'dist/sidetrack.wasm: %s bytes\n' "$(wc -c < dist/sidetrack.wasm | tr -d ' ')"
