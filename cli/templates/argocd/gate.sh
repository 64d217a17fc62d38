#!/usr/bin/env bash
# The gate for changes: checks that all overlays are valid and that no user moves between two candidates. Prints the
# users who move.
#
#   gate.sh BEFORE AFTER    this folder before the change, in another checkout, and after the change
#
# Exits 1 if the change must not be merged. KUSTOMIZE is the command that builds an overlay.
set -euo pipefail

before="$1" after="$2"
read -r -a kustomize <<< "${KUSTOMIZE:-kubectl kustomize}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
failed=0

# Prints the overlay that Argo CD deploys from a folder: the last part of the Application's path.
deployed() {
    local overlay
    overlay="$(sed -n 's|^ *path: .*/overlays/||p' "$1/application.yaml")"
    [ -n "$overlay" ] || { printf 'gate: %s: path must end with /overlays/NAME\n' "$1/application.yaml" >&2; return 1; }
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
    printf 'gate: some overlays have problems, see above\n' >&2
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
