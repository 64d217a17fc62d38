#!/usr/bin/env bash
# Two versions of a model, from the registry to the promotion: `make mlflow-demo` runs this. README.md tells the story.
#
#   run.sh [--keep] [DIR]   works in DIR, empty or new, else in a temporary one; --keep waits for Enter before it ends
#
# SIDETRACK, SIDETRACK_WASM and ENVOY_PATH (whole paths) and the ports below may be set to others.
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
[ -x "$root/.tools/mlflow/bin/mlflow" ] || die "no MLflow: make mlflow fetches it"
[ -x "$envoy" ] || die "no Envoy at $envoy: make setup fetches it, or set ENVOY_PATH"
[ -f "$wasm" ] || die "no filter at $wasm: make wasm builds it"
[ -x "$sidetrack" ] || die "no command at $sidetrack: make cli builds it"
command -v curl >/dev/null || die "curl is missing: install it"
mkdir -p "$dir"
cd "$dir"
dir="$PWD"
[ -z "$(ls -A)" ] || die "$dir is not empty: name another directory, or none"

# What a reader would type stands in the output as it would be typed.
bin="$dir/bin"
mkdir -p "$bin"
ln -sf "$sidetrack" "$bin/sidetrack"
ln -sf "$envoy" "$bin/envoy"
ln -sf "$wasm" sidetrack.wasm
ln -sf "$here/train.py" "$here/traffic.py" .
export PATH="$bin:$root/.tools/mlflow/bin:$PATH"
export MLFLOW_TRACKING_URI="http://127.0.0.1:$mlflow_port"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true
# No background jobs, of which there are none here, and which take seven processes.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

# Each job has a process group of its own, so that ending it ends its workers too.
set -m
jobs=()
finish() {
    trap '' INT TERM
    # The shell's own words on jobs that end.
    exec 2> /dev/null
    signal TERM || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        signal 0 || break
        sleep 0.5
    done
    signal KILL || true
    wait || true
}
# signal NAME: to all jobs; false when none is left.
signal() {
    local some=1
    for job in ${jobs[@]+"${jobs[@]}"}; do
        if kill "-$1" -- "-$job" 2>/dev/null; then some=0; fi
    done
    return "$some"
}
trap finish EXIT
trap 'exit 130' INT TERM

tell() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$1"; eval "$1"; }
# start NAME COMMAND: in the background, with a log and its process id.
start() {
    printf '$ %s &\n' "$2"
    eval "exec $2" > "$1.log" 2>&1 < /dev/null &
    jobs+=("$!")
    echo "$!" > "$1.pid"
}
# ready NAME URL: waits until it answers, as long as it runs.
ready() {
    for _ in $(seq 1000); do
        kill -0 "$(cat "$1.pid")" 2>/dev/null || break
        if curl -fs -o /dev/null "$2"; then return; fi
        sleep 0.3
    done
    tail -n 20 "$1.log" >&2
    die "$1 does not answer at $2; its log is $dir/$1.log"
}

tell "A registry with two versions of a model: 1 is the champion, 2 is tagged as a candidate for half of the users."
start mlflow "mlflow server --port $mlflow_port --workers 1 --backend-store-uri sqlite:///mlflow.db --artifacts-destination artifacts"
ready mlflow "$MLFLOW_TRACKING_URI/health"
run "python train.py"

tell "The experiment, from what the registry says."
run "sidetrack mlflow plan --model digits --path /invocations --out experiment.yaml"
run "sidetrack check experiment.yaml"

tell "Both versions, each behind MLflow's own scoring server, and Envoy with Sidetrack in front."
start v1 "mlflow models serve --env-manager local -m models:/digits/1 --port $v1_port"
start v2 "mlflow models serve --env-manager local -m models:/digits/2 --port $v2_port"
ready v1 "http://127.0.0.1:$v1_port/ping"
ready v2 "http://127.0.0.1:$v2_port/ping"
run "sidetrack render envoy experiment.yaml --wasm sidetrack.wasm --endpoint digits-v1=127.0.0.1:$v1_port --endpoint digits-v2=127.0.0.1:$v2_port --listen 127.0.0.1:$envoy_port --admin 127.0.0.1:$admin_port --access-log access.log > envoy.yaml"
start envoy "envoy -c envoy.yaml --disable-hot-restart --concurrency 1 -l warning --file-flush-interval-msec 500"
ready envoy "http://127.0.0.1:$admin_port/ready"

tell "Users ask, with their id in the body, and learn whether the answers were right."
run "python traffic.py http://127.0.0.1:$envoy_port 3000 outcomes.csv"
# Ended in good order, Envoy writes out the last lines of its log.
kill -TERM "$(cat envoy.pid)"
wait "$(cat envoy.pid)" 2>/dev/null || true

tell "Is version 2 better?"
run "sidetrack analyze run experiment.yaml --exposures access.log --outcomes outcomes.csv --metric accuracy --guardrail error_rate:1pt --guardrail latency_p95:250ms --planned-units 3000 --html report.html --json > analysis.json"

tell "The analysis becomes a run in MLflow, and the winner the champion."
run "sidetrack mlflow log experiment.yaml --analysis analysis.json --report report.html"
run "sidetrack mlflow promote --model digits --analysis analysis.json"
run "sidetrack mlflow promote --model digits --analysis analysis.json --yes"

printf '\nAll files are in %s\n' "$dir"
if [ -n "$keep" ]; then
    printf 'MLflow is at %s until you press Enter.\n' "$MLFLOW_TRACKING_URI"
    read -r _ || true
fi
