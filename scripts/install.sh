#!/usr/bin/env bash
# Installs dist/sidetrack to PREFIX (default /usr/local): the command, its links for kubectl, and its manual pages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prefix="${DESTDIR:-}${PREFIX:-/usr/local}"
mkdir -p "$prefix/bin" "$prefix/share/man/man1"
install -m 755 dist/sidetrack "$prefix/bin/sidetrack"
# kubectl finds plugins and their completions by these names.
ln -sf sidetrack "$prefix/bin/kubectl-sidetrack"
ln -sf sidetrack "$prefix/bin/kubectl_complete-sidetrack"
dist/sidetrack man --out "$prefix/share/man/man1" > /dev/null
echo "installed $prefix/bin/sidetrack, kubectl-sidetrack and kubectl_complete-sidetrack"
