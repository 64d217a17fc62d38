#!/usr/bin/env bash
# Builds the programs of `make test-mesh` into .tools/mesh/bin, from ordinary Go modules at fixed versions: etcd, the API
# server of Kubernetes, kubectl, istiod, Istio's agent, helm, crane (a registry), sidetrack-istiod (tests/mesh/istiod),
# Envoy Gateway and an OpenTelemetry Collector (tests/mesh/collector). Copies what the API server needs beside them, into .tools/mesh/share: the definitions of Istio, of the
# Gateway API and of Envoy Gateway, and the template of the agent's bootstrap.
#
#   scripts/mesh.sh              everything
#   scripts/mesh.sh kubectl …    only these programs
#
# All programs but the last two are in one Go module, tests/mesh, so they compile their common dependencies once; the
# dependencies of these two differ. A program is kept until its version, its flags, its sources or Go change. The first build
# takes about 10 minutes on two idle cores, 6 GB of disk for Go's module and build caches, and 3 GB of memory for the
# linker.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/apt.sh

root=$PWD
bin=.tools/mesh/bin share=.tools/mesh/share
kubernetes=1.36.3
istio=1.32-dev

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

need_go() {
    command -v go >/dev/null \
        || die "go is missing: install Go 1.26 or newer (https://go.dev/dl). Only make test-mesh needs it"
    local version
    version="$(GOTOOLCHAIN=local go env GOVERSION)"
    printf '%s\n' go1.26 "$version" | sort -CV \
        || die "$version is too old: install Go 1.26 or newer. Only make test-mesh needs it"
}

# program NAME FOLDER TAGS FLAGS PACKAGE SOURCES...: builds a package in the context of the module in FOLDER.
program() {
    local name="$1" folder="$2" tags="$3" flags="$4" package="$5" stamp
    shift 5
    stamp="$({ go env GOVERSION; echo "$tags $flags $package"; cat "$folder"/go.mod "$folder"/go.sum "$@"
        } | sha256sum | cut -d' ' -f1)"
    if [ -x "$bin/$name" ] && [ "$(cat "$bin/$name.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "building $name (the first program takes minutes)"
    mkdir -p "$bin"
    # Low priority: the tests compile at the same time. In the same folder, so that the rename is atomic.
    (cd "$folder" && nice go build -buildvcs=false -trimpath -tags "$tags" -ldflags "$flags" \
        -o "$root/$bin/$name.new" "$package") || die "building $name failed, see above"
    mv "$bin/$name.new" "$bin/$name"
    printf '%s\n' "$stamp" > "$bin/$name.stamp"
}

# part NAME: a program of others, or our own.
part() {
    local sources=() folder=tests/mesh tags=vtprotobuf,disable_pgv version=k8s.io/component-base/version package
    local flags="-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=36"
    flags="$flags -X istio.io/istio/pkg/version.buildVersion=$istio"
    case "$1" in
        etcd) package=go.etcd.io/etcd/server/v3 ;;
        kube-apiserver | kubectl) package=k8s.io/kubernetes/cmd/$1 ;;
        pilot-discovery) package=istio.io/istio/pilot/cmd/$1 ;;
        pilot-agent) package=istio.io/istio/pilot/cmd/$1 tags=agent,disable_pgv,grpcnotrace,retrynotrace ;;
        helm) package=helm.sh/helm/v4/cmd/$1 ;;
        # Istio's packages for tests need the validation that disable_pgv leaves out.
        sidetrack-istiod)
            package=./istiod tags=vtprotobuf flags="-s -w"
            sources=(tests/mesh/istiod/*.go tests/mesh/istiod/*/*.go)
            ;;
        crane) package=github.com/google/go-containerregistry/cmd/$1 ;;
        collector) package=. folder=tests/mesh/$1 tags='' flags="-s -w" sources=(tests/mesh/collector/main.go) ;;
        envoy-gateway) package=github.com/envoyproxy/gateway/cmd/$1 folder=tests/mesh/$1 tags='' flags="-s -w" ;;
        *) die "unknown program $1; expected one of: ${parts[*]}" ;;
    esac
    program "$1" "$folder" "$tags" "$flags" "$package" "${sources[@]}"
}

# Files that the modules carry.
share() {
    local stamp istio gateway_api
    stamp="2 $(sha256sum < tests/mesh/go.mod)"
    [ "$(cat "$share/stamp" 2>/dev/null)" != "$stamp" ] || return 0
    istio="$(cd tests/mesh && go mod download istio.io/istio && go list -m -f '{{.Dir}}' istio.io/istio)"
    gateway_api="$(cd tests/mesh && go mod download sigs.k8s.io/gateway-api && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)"
    rm -rf "$share"
    mkdir -p "$share"
    install -m 644 "$istio/manifests/charts/base/files/crd-all.gen.yaml" "$share/istio.yaml"
    for file in "$gateway_api"/config/crd/standard/*.yaml; do
        printf -- '---\n'
        cat "$file"
    done > "$share/gateway-api.yaml"
    install -m 644 "$istio/tools/packaging/common/envoy_bootstrap.json" "$share/envoy_bootstrap_tmpl.json"
    # What sidetrack-istiod reads: the definitions that Istio is tested with, and the same template.
    install -D -m 644 -t "$share/istiod" "$istio"/tests/integration/pilot/testdata/gateway-api{,-inference-extension}-crd.yaml \
        "$istio/tools/packaging/common/envoy_bootstrap.json"
    printf '%s\n' "$stamp" > "$share/stamp"
}

# The definitions of controllers beside the mesh, from their modules: nothing of these is compiled.
neighbours() {
    local modules=(argoproj/argo-rollouts@v1.9.1 fluxcd/flagger@v1.36.1) module
    [ "$(cat "$share/neighbours" 2>/dev/null)" != "${modules[*]}" ] || return 0
    for module in "${modules[@]}"; do
        (cd / && go mod download "github.com/$module")
    done
    module="$(go env GOMODCACHE)/github.com"
    install -m 644 "$module/${modules[0]}/manifests/crds/analysis-template-crd.yaml" "$share/argo-rollouts.yaml"
    install -m 644 "$module/${modules[1]}/artifacts/flagger/crd.yaml" "$share/flagger.yaml"
    (cd "$share" && sha256sum --check --quiet) <<'SUMS'
96a871705477bb8876f91630789ce753c8291f0ff5457a8cbc781ff150522369  argo-rollouts.yaml
64a2daef9dc9d248a98347f186c225e521a2dc1d63e83f8d5ff15be424a0e85f  flagger.yaml
SUMS
    printf '%s\n' "${modules[*]}" > "$share/neighbours"
}

# The definitions of Envoy Gateway.
envoy_gateway() {
    local stamp module
    stamp="$(sha256sum < tests/mesh/envoy-gateway/go.mod)"
    [ "$(cat "$share/envoy-gateway.stamp" 2>/dev/null)" != "$stamp" ] || return 0
    module="$(cd tests/mesh/envoy-gateway && go mod download github.com/envoyproxy/gateway \
        && go list -m -f '{{.Dir}}' github.com/envoyproxy/gateway)"
    for file in "$module"/charts/gateway-helm/charts/crds/crds/generated/*.yaml; do
        printf -- '---\n'
        cat "$file"
    done > "$share/envoy-gateway.yaml"
    printf '%s\n' "$stamp" > "$share/envoy-gateway.stamp"
}

# Sidecars intercept connections with it.
redirection() {
    local dir=.tools/mesh/iptables scratch
    if [ -x "$dir/bin/iptables" ] || [ -x /usr/sbin/iptables ] || command -v iptables >/dev/null; then
        return
    fi
    say "unpacking iptables into $dir (about 1 MB)"
    mkdir -p .tools/mesh
    scratch="$(mktemp -d .tools/mesh/fetch.XXXXXX)"
    libraries='lib(xtables|ip4tc|ip6tc)[0-9a-z.-]*'
    unpack "$scratch" iptables+ || die "fetching iptables failed, see above; alternatively, install it"
    rm -rf "$dir"
    mkdir -p "$dir/bin" "$dir/lib"
    mv "$scratch"/root/usr/sbin/xtables-legacy-multi "$dir/lib/"
    find "$scratch/root" -path '*/lib/*' -name 'lib*.so*' -exec cp -P {} "$dir/lib/" \;
    rm -rf "$scratch"
    cat > "$dir/bin/iptables" <<'RUN'
#!/bin/sh
lib="$(cd "$(dirname "$0")/../lib" && pwd)"
LD_LIBRARY_PATH="$lib" XTABLES_LIBDIR="$lib" exec "$lib/xtables-legacy-multi" iptables "$@"
RUN
    chmod +x "$dir/bin/iptables"
}

# The order of the fewest repeated compilations.
parts=(etcd kube-apiserver kubectl pilot-discovery sidetrack-istiod helm pilot-agent crane envoy-gateway collector)

need_go
# shellcheck disable=SC2048,SC2086 # names of programs contain no spaces
for name in ${*:-${parts[*]}}; do
    part "$name"
done
share
neighbours
redirection
envoy_gateway
say "control planes: $bin"
