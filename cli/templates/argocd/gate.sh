#!/usr/bin/env bash
# The gate of a change: every overlay is good, and no user moves between two candidates. It prints who moves where.
#
#   gate.sh BEFORE AFTER    this folder before the change, in another checkout, and after it
#
# Exits 1 when the change must not be merged. KUSTOMIZE is the command that builds an overlay.
set -euo pipefail

before="$1" after="$2"
read -r -a kustomize <<< "${KUSTOMIZE:-kubectl kustomize}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
failed=0

# What Argo CD deploys from a folder: the overlay that the Application names.
deployed() {
    local overlay
    overlay="$(sed -n 's|^ *path: .*/overlays/||p' "$1/application.yaml")"
    [ -n "$overlay" ] || { printf 'gate: %s names no overlay\n' "$1/application.yaml" >&2; return 1; }
    printf 'overlays/%s\n' "$overlay"
}

for overlay in "$after"/overlays/*/; do
    printf '== %s\n' "$overlay"
    if ! "${kustomize[@]}" "$overlay" > "$scratch/overlay.yaml"; then
        failed=1
    elif ! sidetrack check "$scratch/overlay.yaml"; then
        failed=1
    fi
done
if [ "$failed" != 0 ]; then
    printf 'gate: not every overlay is good, see above\n' >&2
    exit 1
fi

new="$(deployed "$after")"
if [ ! -f "$before/application.yaml" ]; then
    printf '== nothing was deployed before; now %s\n' "$new"
    exit 0
fi
old="$(deployed "$before")"
printf '== deployed: %s, now %s\n' "$old" "$new"
"${kustomize[@]}" "$before/$old" > "$scratch/before.yaml"
"${kustomize[@]}" "$after/$new" > "$scratch/after.yaml"
sidetrack plan --fail-on-swap "$scratch/before.yaml" "$scratch/after.yaml"
