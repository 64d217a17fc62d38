#!/usr/bin/env bash
# Runs coverage-guided fuzz targets on stable Rust: libFuzzer only needs LLVM's coverage pass.
#
#   scripts/fuzz.sh                 each target for a minute
#   scripts/fuzz.sh body decision   only these targets
#   FUZZ_SECONDS=3600               the duration per target
#   FUZZ_MINIMIZE=1                 fuzz, then keep only inputs in fuzz/corpus/ that add coverage
#
# New inputs are written to target/fuzz/found/TARGET. Failures are printed and kept in fuzz/regressions/TARGET/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'fuzz: error: %s\n' "$*" >&2; exit 1; }

command -v c++ >/dev/null || die "c++ is missing: libFuzzer needs a C++ compiler (Debian: g++)"

seconds="${FUZZ_SECONDS:-60}"
host="$(rustc -vV | sed -n 's/^host: //p')"
build="target/fuzz"
counted="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
native="$counted -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"

if [ "$#" -eq 0 ]; then
    set -- config request body decision store filter
fi

# The targets of the core and the store: all of their code is instrumented.
of_core() {
    RUSTFLAGS="$native" cargo build --quiet --manifest-path fuzz/Cargo.toml --target-dir "$build/core" \
        --release --target "$host" --bin "$1"
    program="$build/core/$host/release/$1"
}

# The module: the wasm code is instrumented, but not the host around it.
of_module() {
    RUSTFLAGS="$counted -Clink-arg=--allow-undefined" cargo build --quiet -p sidetrack-filter --profile wasm \
        --target wasm32-wasip1 --target-dir "$build/module"
    SIDETRACK_WASM="$PWD/$build/module/wasm32-wasip1/wasm/sidetrack_filter.wasm"
    export SIDETRACK_WASM
    # Not instrumented and not optimized, so it shares the build of the tests.
    cargo build --quiet --manifest-path fuzz/Cargo.toml --target-dir target --features filter --bin filter
    program="target/debug/filter"
}

for target in "$@"; do
    case "$target" in
        config|request|body|decision|store) of_core "$target" ;;
        filter) of_module ;;
        *) die "unknown target $target; expected: config, request, body, decision, store or filter" ;;
    esac
    corpus="fuzz/corpus/$target" known="fuzz/regressions/$target" found="$build/found/$target"
    mkdir -p "$corpus" "$known" "$found"
    options=(-max_len=4096 -len_control=0 -timeout=60 -rss_limit_mb=2048 -artifact_prefix="$known/" -print_final_stats=1 -verbosity=0)
    if [ -f "fuzz/dictionaries/$target.txt" ]; then
        options+=(-dict="fuzz/dictionaries/$target.txt")
    fi
    printf 'fuzz: %s for %s s\n' "$target" "$seconds"
    "$program" "${options[@]}" -max_total_time="$seconds" "$found" "$corpus" "$known" 2>&1 \
        | { grep -vE '^(INFO:|Dictionary:|[[:space:]]+NEW_FUNC|stat::(new|slow|average)|^#|^")' || true; } \
        || die "$target failed; the input is in $known/, and cargo test runs it from now on"
    if [ -n "${FUZZ_MINIMIZE:-}" ]; then
        smaller="$build/smaller/$target"
        rm -rf "$smaller"
        mkdir -p "$smaller"
        "$program" "${options[@]}" -set_cover_merge=1 -use_counters=0 -use_cmp=0 "$smaller" "$corpus" "$found" >/dev/null 2>&1
        rm -rf "$corpus"
        mv "$smaller" "$corpus"
    fi
done
