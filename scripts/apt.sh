# Sourced by other scripts: fetches Debian packages and unpacks them, without root and without a change of the system.

# unpack SCRATCH PACKAGE…: downloads packages with its own package lists and unpacks them into SCRATCH/root. An update of
# the system's lists needs root, and containers often lack them. A package with the suffix "+" includes those of its
# dependencies that match `$libraries`, a regular expression.
unpack() {
    local scratch="$1" tool package
    shift
    for tool in apt-get apt-cache dpkg; do
        command -v "$tool" >/dev/null || { echo "setup: $tool is missing, so $* cannot be fetched" >&2; return 1; }
    done
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
    local apt=(-o "Dir::State::lists=$PWD/$scratch/lists" -o "Dir::Cache=$PWD/$scratch/cache" -o APT::Sandbox::User=
        -o Debug::NoLocking=1)
    apt-get "${apt[@]}" update -qq || return 1
    local names=()
    for package in "$@"; do
        names+=("${package%+}")
        if [ "$package" != "${package%+}" ]; then
            # shellcheck disable=SC2207 # names of packages contain no spaces
            names+=($(apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
                --no-replaces --no-enhances "${package%+}" | grep -oE "^($libraries)\$" | sort -u || true))
        fi
    done
    (
        cd "$scratch"
        apt-get "${apt[@]}" download -qq "${names[@]}" || exit 1
        for package in *.deb; do dpkg -x "$package" root || exit 1; done
    )
}
