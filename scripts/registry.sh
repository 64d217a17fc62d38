#!/usr/bin/env bash
# Provides a registry and skopeo for tests that push and pull an image. Uses installed programs; otherwise, on Debian and
# its derivatives, unpacks the packages into .tools/registry. So nothing is installed into the system, root is not needed,
# and no service is started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/apt.sh

dir=.tools/registry

say() { printf 'setup: %s\n' "$*"; }
# Only the image tests need them, so this is a warning. Those tests fail and report it again.
give_up() {
    say "warning: $*." "tests/tests/deploy/package.rs will fail." \
        "Install skopeo and docker-registry, or set SKOPEO_PATH and REGISTRY_PATH" >&2
    exit 0
}
# is_available PATH NAME: whether a program is set by a variable, unpacked or installed.
is_available() { [ -n "$1" ] || [ -x "$dir/bin/$2" ] || command -v "$2" >/dev/null; }

if is_available "${SKOPEO_PATH:-}" skopeo && is_available "${REGISTRY_PATH:-}" docker-registry; then
    say "registry and skopeo: found"
    exit 0
fi

say "unpacking docker-registry and skopeo into $dir (about 10 MB)"
mkdir -p "$dir"
scratch="$(mktemp -d "$dir/fetch.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
# Libraries of skopeo that a minimal system lacks; every Debian has the others.
libraries='lib(gpgme|assuan|gpg-error|devmapper)[0-9a-z.-]*'
unpack "$scratch" docker-registry skopeo+ || give_up "fetching the packages failed, see above"

mkdir "$scratch/new" "$scratch/new/bin" "$scratch/new/lib"
mv "$scratch/root/usr/bin/docker-registry" "$scratch/root/usr/bin/skopeo" "$scratch/new/lib/"
find "$scratch/root" -path '*/lib/*' -name 'lib*.so.*' -exec cp -P {} "$scratch/new/lib/" \;
for program in docker-registry skopeo; do
    cat > "$scratch/new/bin/$program" <<'RUN'
#!/bin/sh
lib="$(cd "$(dirname "$0")/../lib" && pwd)"
LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$lib/$(basename "$0")" "$@"
RUN
    chmod +x "$scratch/new/bin/$program"
    "$scratch/new/bin/$program" --version >/dev/null || give_up "$program was unpacked, but does not run, see above"
done
rm -rf "$dir/bin" "$dir/lib"
mv "$scratch/new/lib" "$dir/lib"
mv "$scratch/new/bin" "$dir/bin"
say "registry and skopeo: $dir/bin"
