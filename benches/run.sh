#!/usr/bin/env bash
# Builds what the benchmark needs and runs it. Arguments go to bench.py; after --analysis, to
# analysis.py, after --exposures to exposures.py, and after --ways to ways.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

router_environment() {
    local pins=benches/requirements.txt dir=.tools/bench stamp
    stamp="$(cksum < "$pins")"
    if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    printf 'bench: making the Python environment %s\n' "$dir"
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins"
    printf '%s\n' "$stamp" > "$dir/stamp"
}

if [ "${1:-}" = --analysis ]; then
    router_environment
    exec .tools/bench/bin/python -B benches/analysis.py "${@:2}"
fi
if [ "${1:-}" = --exposures ]; then
    exec python3 -B benches/exposures.py "${@:2}"
fi
if [ "${1:-}" = --ways ]; then
    router_environment
    scripts/setup.sh tests
    scripts/setup.sh spark
    exec .tools/bench/bin/python -B benches/ways.py "${@:2}"
fi
missing=()
for program in valgrind wrk taskset; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    printf 'bench: missing: %s; on Debian: apt-get install valgrind wrk util-linux\n' "${missing[*]}" >&2
    exit 1
fi
router_environment
target="${CARGO_TARGET_DIR:-target}"
cargo build --quiet --release -p sidetrack-benches --no-default-features
# It carries wasmtime, which takes minutes to optimise and runs well enough without.
cargo build --quiet -p sidetrack-benches --bin hostcalls
mkdir -p "$target/bench"
"$target/release/wat" benches/empty.wat "$target/bench/empty.wasm"
exec python3 -B benches/bench.py --target "$target" "$@"
