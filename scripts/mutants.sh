#!/usr/bin/env bash
# Mutation tests: breaks the core, the proxy and the analysis in small ways, one at a time, and runs their tests. Fails
# if no test notices a mutant, unless .cargo/mutants.toml accepts it with a reason. A full run takes many hours; a shard
# is every n-th mutant, a sample of all files.
#
#   MUTANTS_SHARD=0/24 scripts/mutants.sh       mutants 0, 24, 48, … of each package
#   scripts/mutants.sh proxy                    only this package: core, proxy or analysis
#   scripts/mutants.sh core --file src/draw.rs  only mutants of this file; further options are passed to cargo-mutants
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shard=()
if [ -n "${MUTANTS_SHARD:-}" ]; then
    shard=(--shard "$MUTANTS_SHARD" --sharding round-robin)
fi

# Arguments: name, package, package with more of its tests, test binaries, options of cargo-mutants.
mutate() {
    local name="$1" package="$2" more="$3" tests="$4" out="target/mutants/$1" code=0
    shift 4
    mkdir -p "$out"
    printf 'mutants: %s\n' "$name"
    # shellcheck disable=SC2086  # The tests are several words.
    .tools/bin/cargo-mutants mutants --package "$package" --test-package "$package" --test-package "$more" \
        "${shard[@]}" --output "$out" --no-shuffle --colors never "$@" -- $tests || code=$?
    summarize "$name" "$out/mutants.out"
    [ "$code" = 0 ] || failed=1
}

# cargo-mutants lists mutants by what became of them.
summarize() {
    local missed viable
    count() { if [ -f "$1" ]; then wc -l < "$1"; else echo 0; fi; }
    missed="$(count "$2/missed.txt")"
    viable=$((missed + $(count "$2/caught.txt") + $(count "$2/timeout.txt")))
    printf 'mutants: %s: %s viable, of which %s were missed, %s timed out; %s did not compile\n' \
        "$1" "$viable" "$missed" "$(count "$2/timeout.txt")" "$(count "$2/unviable.txt")"
    if [ "$missed" -gt 0 ]; then
        printf 'mutants: error: write a test, or accept these with a reason in .cargo/mutants.toml:\n' >&2
        sed 's/^/    /' "$2/missed.txt" >&2
    fi
}

failed=0 only=
case "${1:-}" in
    core | proxy | analysis) only="$1"; shift ;;
esac
for name in core proxy analysis; do
    [ "${only:-$name}" = "$name" ] || continue
    case "$name" in
        # The messages about bad files are tested through the command's reader of YAML.
        core) mutate core sidetrack sidetrack-cli "--lib --test core --test corpus" "$@" ;;
        proxy) mutate proxy sidetrack-proxy sidetrack-proxy "--tests" "$@" ;;
        # Whole verdicts are tested through the command.
        analysis) mutate analysis sidetrack-analysis sidetrack-cli "--lib --test reference --test analysis" "$@" ;;
    esac
done
exit "$failed"
