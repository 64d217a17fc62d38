#!/usr/bin/env bash
# Two versions of a model, from the registry to the promotion. `make mlflow-demo` runs this; README.md explains it.
#
#   run.sh [--keep] [DIR]   uses DIR, which must be empty or new (default: a temporary one); --keep waits for Enter at the end
#
# The variables SIDETRACK, SIDETRACK_WASM and ENVOY_PATH (absolute paths) and the ports below can be set.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
here="$root/examples/mlflow"
sidetrack="${SIDETRACK:-$root/dist/sidetrack}"
wasm="${SIDETRACK_WASM:-$root/dist/sidetrack.wasm}"
envoy="${ENVOY_PATH:-$root/.tools/envoy/${ENVOY_VERSION:-1.40.0}/envoy}"
mlflow_port="${MLFLOW_PORT:-5000}" v1_port="${V1_PORT:-5001}" v2_port="${V2_PORT:-5002}"
envoy_port="${ENVOY_PORT:-10000}" admin_port="${ADMIN_PORT:-9901}"

keep=""
if [ "${1:-}" = --keep ]; then
    keep=1
    shift
fi
dir="${1:-$(mktemp -d "${TMPDIR:-/tmp}/sidetrack-mlflow-demo.XXXXXX")}"
die() { printf 'mlflow-demo: error: %s\n' "$*" >&2; exit 1; }
[ -x "$root/.tools/mlflow/bin/mlflow" ] || die "MLflow is not installed: run make mlflow"
[ -x "$envoy" ] || die "$envoy does not exist: run make setup, or set ENVOY_PATH"
[ -f "$wasm" ] || die "$wasm does not exist: run make wasm"
[ -x "$sidetrack" ] || die "$sidetrack does not exist: run make cli"
command -v curl >/dev/null || die "curl is not installed"
mkdir -p "$dir"
cd "$dir"
dir="$PWD"
[ -z "$(ls -A)" ] || die "$dir is not empty: use another directory, or none"

# The printed commands are those that a user would type.
bin="$dir/bin"
mkdir -p "$bin"
ln -sf "$sidetrack" "$bin/sidetrack"
ln -sf "$envoy" "$bin/envoy"
ln -sf "$wasm" sidetrack.wasm
ln -sf "$here/train.py" "$here/traffic.py" .
export PATH="$bin:$root/.tools/mlflow/bin:$PATH"
export MLFLOW_TRACKING_URI="http://127.0.0.1:$mlflow_port"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true
# No background jobs: they are not needed here and take seven processes.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

# Each job has its own process group, so that its workers end with it.
set -m
jobs=()
finish() {
    trap '' INT TERM
    # Hides the shell's messages about ended jobs.
    exec 2> /dev/null
    signal TERM || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        signal 0 || break
        sleep 0.5
    done
    signal KILL || true
    wait || true
}
# signal NAME: signals all jobs; fails if no job is left.
signal() {
    local some=1
    for job in ${jobs[@]+"${jobs[@]}"}; do
        if kill "-$1" -- "-$job" 2>/dev/null; then some=0; fi
    done
    return "$some"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$1"; eval "$1"; }
# start NAME COMMAND: runs it in the background, with a log and a file with its process id.
start() {
    printf '$ %s &\n' "$2"
    eval "exec $2" > "$1.log" 2>&1 < /dev/null &
    jobs+=("$!")
    echo "$!" > "$1.pid"
}
# ready NAME URL: waits until the URL responds, or the process ends.
ready() {
    for _ in $(seq 1000); do
        kill -0 "$(cat "$1.pid")" 2>/dev/null || break
        if curl -fs -o /dev/null "$2"; then return; fi
        sleep 0.3
    done
    tail -n 20 "$1.log" >&2
    die "$1 does not respond at $2; see $dir/$1.log"
}

step "A registry with two versions of a model: 1 is the champion, 2 is tagged as a candidate for half of the users."
start mlflow "mlflow server --port $mlflow_port --workers 1 --backend-store-uri sqlite:///mlflow.db --artifacts-destination artifacts"
ready mlflow "$MLFLOW_TRACKING_URI/health"
run "python train.py"

step "The experiment, from the registry."
run "sidetrack mlflow plan --model digits --path /invocations --out experiment.yaml"
run "sidetrack check experiment.yaml"

step "Both versions with MLflow's own scoring server, and Envoy with Sidetrack in front of them."
start v1 "mlflow models serve --env-manager local -m models:/digits/1 --port $v1_port"
start v2 "mlflow models serve --env-manager local -m models:/digits/2 --port $v2_port"
ready v1 "http://127.0.0.1:$v1_port/ping"
ready v2 "http://127.0.0.1:$v2_port/ping"
run "sidetrack render envoy experiment.yaml --wasm sidetrack.wasm --endpoint digits-v1=127.0.0.1:$v1_port --endpoint digits-v2=127.0.0.1:$v2_port --listen 127.0.0.1:$envoy_port --admin 127.0.0.1:$admin_port --access-log access.log > envoy.yaml"
start envoy "envoy -c envoy.yaml --disable-hot-restart --concurrency 1 -l warning --file-flush-interval-msec 500"
ready envoy "http://127.0.0.1:$admin_port/ready"

step "Users send requests with their id in the body. The outcomes are whether the predictions were correct."
run "python traffic.py http://127.0.0.1:$envoy_port 3000 outcomes.csv"
# When it ends normally, Envoy writes the last lines of its log.
kill -TERM "$(cat envoy.pid)"
wait "$(cat envoy.pid)" 2>/dev/null || true

step "Is version 2 better?"
run "sidetrack analyze run experiment.yaml --exposures access.log --outcomes outcomes.csv --metric accuracy --guardrail error_rate:1pt --guardrail latency_p95:250ms --planned-units 3000 --html report.html --json > analysis.json"

step "The analysis becomes a run in MLflow, and the winner becomes the champion."
run "sidetrack mlflow log experiment.yaml --analysis analysis.json --report report.html"
run "sidetrack mlflow promote --model digits --analysis analysis.json"
run "sidetrack mlflow promote --model digits --analysis analysis.json --yes"

printf '\nAll files are in %s\n' "$dir"
if [ -n "$keep" ]; then
    printf 'MLflow is at %s until you press Enter.\n' "$MLFLOW_TRACKING_URI"
    read -r _ || true
fi
