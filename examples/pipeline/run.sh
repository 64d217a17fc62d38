#!/usr/bin/env bash
# Three versions of a model, from the tag in the registry to a promotion or a rollback, unattended.
# `make mlflow-demo` runs this; README.md explains it.
#
#   run.sh [--keep] [DIR]   uses DIR, which must be empty or new (default: a temporary one); --keep waits for Enter at the end
#
# The variables SIDETRACK, SIDETRACK_WASM, ENVOY_PATH and PROMETHEUS (absolute paths) and the ports below can be set.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
here="$root/examples/pipeline"
sidetrack="${SIDETRACK:-$root/dist/sidetrack}"
prometheus="${PROMETHEUS:-$root/.tools/prometheus/prometheus}"
export ENVOY_PATH="${ENVOY_PATH:-$root/.tools/envoy/${ENVOY_VERSION:-1.40.0}/envoy}"
mlflow_port="${MLFLOW_PORT:-5000}" models_port="${MODELS_PORT:-5001}" store_port="${STORE_PORT:-8088}"
prometheus_port="${PROMETHEUS_PORT:-9090}"
port_1="${ENVOY_1_PORT:-10000}" admin_1="${ADMIN_1_PORT:-9901}"
port_2="${ENVOY_2_PORT:-10001}" admin_2="${ADMIN_2_PORT:-9902}"

keep=""
if [ "${1:-}" = --keep ]; then
    keep=1
    shift
fi
dir="${1:-$(mktemp -d "${TMPDIR:-/tmp}/sidetrack-pipeline.XXXXXX")}"
die() { printf 'mlflow-demo: error: %s\n' "$*" >&2; exit 1; }
[ -x "$root/.tools/mlflow/bin/mlflow" ] || die "MLflow is not installed: run make mlflow"
[ -x "$ENVOY_PATH" ] || die "$ENVOY_PATH does not exist: run make setup, or set ENVOY_PATH"
[ -x "$prometheus" ] || die "$prometheus does not exist: run scripts/setup.sh tests, or set PROMETHEUS"
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
ln -sf "$prometheus" "$bin/prometheus"
ln -sf "$here"/{train,models,traffic}.py "$here/template.yaml" .
sed "s/:9901/:$admin_1/; s/:9902/:$admin_2/" "$here/prometheus.yml" > prometheus.yml
export PATH="$bin:$root/.tools/mlflow/bin:$PATH"
export MLFLOW_TRACKING_URI="http://127.0.0.1:$mlflow_port"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true
# No background jobs: they are not needed here and take seven processes.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# Commits of this example do not need an identity of yours.
export GIT_AUTHOR_NAME=sidetrack GIT_AUTHOR_EMAIL=sidetrack@example.com
export GIT_COMMITTER_NAME=sidetrack GIT_COMMITTER_EMAIL=sidetrack@example.com

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

step "A registry with four versions of a model: 1 is the champion; 2, 3 and 4 are tagged as candidates."
start mlflow "mlflow server --port $mlflow_port --workers 1 --backend-store-uri sqlite:///mlflow.db --artifacts-destination artifacts"
ready mlflow "$MLFLOW_TRACKING_URI/health"
run "python train.py"

step "A repository for the experiment file, a clone for the follower, and one for the deployment."
run "git init --quiet --bare -b main experiments.git"
run "git clone --quiet experiments.git follower 2> clone.log"
run "git -C follower commit --quiet --allow-empty -m 'An empty repository'"
run "git -C follower push --quiet -u origin main"
run "git clone --quiet experiments.git deployed"

step "The follower begins the first test: it commits the experiment file."
follow="sidetrack mlflow follow follower/experiment.yaml --model digits --template template.yaml --store http://127.0.0.1:$store_port --prometheus http://127.0.0.1:$prometheus_port --push --promote"
run "$follow"

step "The deployment: it pulls, and two proxies, a store and a Prometheus follow."
run "git -C deployed pull --quiet"
start deployer "bash -c 'while sleep 0.5; do git -C deployed pull --quiet; done'"
start models "python models.py $models_port digits"
ready models "http://127.0.0.1:$models_port/"
start proxy-1 "sidetrack run deployed/experiment.yaml --endpoint models=127.0.0.1:$models_port --dir proxy-1 --port $port_1 --admin 127.0.0.1:$admin_1"
start proxy-2 "sidetrack run deployed/experiment.yaml --endpoint models=127.0.0.1:$models_port --dir proxy-2 --port $port_2 --admin 127.0.0.1:$admin_2"
start store "sidetrack serve --store data deployed/experiment.yaml --listen 127.0.0.1:$store_port --follow proxy-1/exposures.jsonl --follow proxy-2/exposures.jsonl"
start prometheus "prometheus --config.file=prometheus.yml --storage.tsdb.path=prometheus --web.listen-address=127.0.0.1:$prometheus_port"
ready proxy-1 "http://127.0.0.1:$admin_1/ready"
ready proxy-2 "http://127.0.0.1:$admin_2/ready"
ready store "http://127.0.0.1:$store_port/readyz"
ready prometheus "http://127.0.0.1:$prometheus_port/-/ready"

step "Users send requests with their id in the body. The outcomes are whether the predictions were correct."
start traffic "python traffic.py http://127.0.0.1:$store_port http://127.0.0.1:$port_1 http://127.0.0.1:$port_2"

step "From here on, the follower works alone, until no version is tagged."
began="$SECONDS"
start follower "$follow --watch --every 2s"
tail -n +1 -f follower.log &
jobs+=("$!")
until grep -q 'Nothing to test' follower.log; do
    kill -0 "$(cat follower.pid)" 2>/dev/null || die "the follower ended; see $dir/follower.log"
    sleep 0.5
done
# So that its last lines are shown.
sleep 1.5
printf '\nAll three versions were decided in %s s.\n' "$((SECONDS - began))"
run "git -C deployed log --reverse --format=%s origin/main"

printf '\nAll files are in %s\n' "$dir"
if [ -n "$keep" ]; then
    printf 'MLflow is at %s until you press Enter.\n' "$MLFLOW_TRACKING_URI"
    read -r _ || true
fi
