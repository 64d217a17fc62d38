#!/usr/bin/env bash
# Mutation tests of the core, the proxy and the analysis. Fails if a mutant survives that .cargo/mutants.toml does not
# accept with a reason. All of it takes many hours; a shard is every n-th mutant, a fair sample of all files.
#
#   MUTANTS_SHARD=0/12 scripts/mutants.sh       mutants 0, 12, 24, … of the list
#   scripts/mutants.sh --file src/draw.rs       only those of a file; other options go to cargo-mutants too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=target/mutants
mkdir -p "$out"
packages=(--package sidetrack --package sidetrack-proxy --package sidetrack-analysis)
shard=()
if [ -n "${MUTANTS_SHARD:-}" ]; then
    shard=(--shard "$MUTANTS_SHARD" --sharding round-robin)
fi
code=0
.tools/bin/cargo-mutants mutants "${packages[@]}" "${shard[@]}" --output "$out" --no-shuffle --colors never "$@" || code=$?

list="$out/mutants.out"
count() { if [ -f "$list/$1.txt" ]; then wc -l < "$list/$1.txt"; else echo 0; fi; }
missed="$(count missed)" viable=$(($(count missed) + $(count caught) + $(count timeout)))
printf 'mutants: %s viable, of which %s were missed, %s timed out; %s did not compile\n' \
    "$viable" "$missed" "$(count timeout)" "$(count unviable)"
if [ "$missed" -gt 0 ]; then
    printf 'mutants: error: new survivors: write a test, or accept them with a reason in .cargo/mutants.toml:\n' >&2
    sed 's/^/    /' "$list/missed.txt" >&2
fi
exit "$code"
