#!/usr/bin/env bash
# Builds the parts of a release in dist/release: the filter, the command for this machine, the image and its digest, bills
# of materials for filter and command, and the checksums of all files. Needs cargo-cyclonedx.
#
# The filter, the image and its digest are reproducible with the toolchain in rust-toolchain.toml: they contain no path of
# the build machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo-cyclonedx >/dev/null || {
    echo "release: error: cargo-cyclonedx is missing: cargo install cargo-cyclonedx --version 0.5.9 --locked" >&2
    exit 1
}
out=dist/release
rm -rf "$out"
mkdir -p "$out"
cargo fetch --locked --quiet

# A separate target directory, because other flags would rebuild everything that the tests use.
export CARGO_TARGET_DIR="$PWD/target/release-build"
flags="--remap-path-prefix=$PWD=/sidetrack"
for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    flags+=$'\x1f'"--remap-path-prefix=${sources%/}=/registry"
done
export CARGO_ENCODED_RUSTFLAGS="$flags"
cargo build --locked -p sidetrack-filter --profile wasm --target wasm32-wasip1
SIDETRACK_EMBED="$CARGO_TARGET_DIR/wasm32-wasip1/wasm/sidetrack_filter.wasm" cargo build --locked --release -p sidetrack-cli
host="$(rustc -vV | sed -n 's/^host: //p')"
cp "$CARGO_TARGET_DIR/wasm32-wasip1/wasm/sidetrack_filter.wasm" "$out/sidetrack.wasm"
strip -S -o "$out/sidetrack-$host" "$CARGO_TARGET_DIR/release/sidetrack"
if grep -qaF "${CARGO_HOME:-$HOME/.cargo}" "$out/sidetrack.wasm" || grep -qaF "$PWD" "$out/sidetrack.wasm"; then
    echo "release: error: the filter contains a path of this machine, so the build is not reproducible" >&2
    exit 1
fi

image="$CARGO_TARGET_DIR/image"
rm -rf "$image"
"$out/sidetrack-$host" package --wasm "$out/sidetrack.wasm" --out "$image" --json |
    sed -n 's/^  "digest": "\(.*\)",$/\1/p' > "$out/image.digest"
grep -qE '^sha256:[0-9a-f]{64}$' "$out/image.digest"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$CARGO_TARGET_DIR" -cf "$out/image.tar" image

# Otherwise, each build would have another time and serial number.
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct 2>/dev/null || echo 0)"
export SOURCE_DATE_EPOCH
# cargo-cyclonedx writes next to each manifest, and uses paths as names of local packages.
bill() { # package, folder, target
    cargo cyclonedx --quiet --manifest-path "$2/Cargo.toml" --format json --spec-version 1.5 --no-build-deps \
        --target "$3" --override-filename sidetrack-bill
    sed "s|file://$PWD|file:///sidetrack|g" "$2/sidetrack-bill.json" > "$out/$1.cdx.json"
    find . -name sidetrack-bill.json -not -path './target/*' -delete
}
bill sidetrack.wasm filter wasm32-wasip1
bill "sidetrack-$host" cli "$host"
(cd "$out" && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
