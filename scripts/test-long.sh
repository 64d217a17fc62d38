#!/usr/bin/env bash
# Tests that take too long for every change: tests/tests/filter/long at full size, every scenario on every supported Envoy,
# a simulated year of the breaker, its speed with each fault on a real Envoy, each fuzzer, the interface of the store,
# the query of sums in Spark, and the reproducibility of the module.
#
#   scripts/test-long.sh                    all parts, about an hour on two cores
#   scripts/test-long.sh envoys             only this part; parts: breaker, envoys, long, year, fuzz, same, store, durability, spark
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'test-long: %s\n' "$*"; }
die() { printf 'test-long: error: %s\n' "$*" >&2; exit 1; }

if [ "$#" -eq 0 ]; then
    set -- same year breaker envoys fuzz store spark long durability
fi

envoys() {
    local pins version
    [ -z "${ENVOY_PATH:-}" ] || die "ENVOY_PATH is set, so every run would use that Envoy; unset it"
    for pins in scripts/envoy-*.txt; do
        version="${pins#scripts/envoy-}" version="${version%.txt}"
        ENVOY_VERSION="$version" scripts/setup.sh
        say "every scenario on Envoy $version"
        ENVOY_VERSION="$version" cargo test --test filter --test breaker_envoy -- \
            --skip wasm:: --skip scale:: --skip corpora:: --skip latency::
    done
}

long() {
    SIDETRACK_LONG=1 cargo test --test filter long:: -- --nocapture --test-threads=1
}

# Measures time: nothing else may run on the machine.
breaker() {
    SIDETRACK_LONG=1 cargo test --test breaker_envoy every_fault_in_time -- --nocapture
}

# Ten minutes of traffic with kills, a full disk and restarts; as root with a disk of its own.
durability() {
    SIDETRACK_LONG=1 cargo test --test store_envoy durability:: -- --nocapture
}

year() {
    SIDETRACK_LONG=1 cargo test --release -p sidetrack --lib year:: -- --nocapture
}

# The interface of the store, for ten minutes.
store() {
    SIDETRACK_LONG=1 cargo test --test network openapi:: -- --nocapture
}

# The query of sums on two executors; fetches Spark.
spark() {
    scripts/setup.sh spark
    cargo test --test analysis spark -- --ignored --nocapture
}

fuzz() {
    scripts/fuzz.sh
}

# Checks that a copy of the sources in another directory gives the same module.
same() {
    local here there
    scripts/build-wasm.sh
    if grep -aq -e "${CARGO_HOME:-$HOME/.cargo}" -e "$PWD" dist/sidetrack.wasm; then
        die "dist/sidetrack.wasm contains paths of this machine"
    fi
    copy="$(mktemp -d)"
    trap 'rm -rf "$copy"' EXIT
    git ls-files -z | xargs -0 cp --parents -t "$copy"
    "$copy/scripts/build-wasm.sh"
    here="$(cksum < dist/sidetrack.wasm)" there="$(cksum < "$copy/dist/sidetrack.wasm")"
    [ "$here" = "$there" ] || die "the module differs between $PWD and $copy: $here, $there"
    say "the module is the same in $PWD and $copy"
}

for part in "$@"; do
    case "$part" in
        breaker|envoys|long|year|fuzz|same|store|durability|spark) "$part" ;;
        *) die "unknown part $part; expected: breaker, envoys, long, year, fuzz, same, store, durability or spark" ;;
    esac
done
