#!/usr/bin/env bash
# Builds the module that Envoy loads: dist/sidetrack.wasm. The same sources and toolchain give the same bytes, in any
# directory: the paths in panic messages are replaced.
#
#   scripts/build-wasm.sh crashing    for tests: dist/sidetrack-crashing.wasm, which crashes on the header `x-test-crash`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

goal=dist/sidetrack.wasm made=sidetrack_filter.wasm which=(--lib)
case "${1:-}" in
    "") ;;
    crashing)
        goal=dist/sidetrack-crashing.wasm made=examples/crashing.wasm
        which=(--example crashing --features crash-on-demand)
        ;;
    *) echo "build-wasm: error: unknown module $1; expected: crashing" >&2; exit 1 ;;
esac

RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/sidetrack" \
    cargo build --locked -p sidetrack-filter --profile wasm --target wasm32-wasip1 "${which[@]}"
mkdir -p dist
# Written to a temporary file and renamed, so that a test that runs never reads a partial module.
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip1/wasm/$made" "$goal.$$"
scripts/name-functions.py "$goal.$$"
mv "$goal.$$" "$goal"
printf '%s: %s bytes\n' "$goal" "$(wc -c < "$goal" | tr -d ' ')"
