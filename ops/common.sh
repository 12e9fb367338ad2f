# shellcheck shell=bash
# What every script here shares: where things are, how to speak, how to stop. Source it:
#   source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this
VENV=$ROOT/.venv TORCH_VENV=$ROOT/.venv-torch NO_VLLM=3

# --- speaking: progress to stdout, trouble to stderr, an error ends the script
info() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
fatal() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# --- the header comment of a script is its --help
help_from_header() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$1"
}

# --- one hash over files and words, to tell whether a finished step is still up to date
fingerprint() {
    local thing
    for thing in "$@"; do
        if [[ -f $thing ]]; then cat "$thing"; else printf '%s\n' "$thing"; fi
    done | sha256sum | cut -d' ' -f1
}

# --- run a long step with its name before it and its time behind it. Its own output goes to LOG; a
#     terminal shows the latest line meanwhile, and a failure the last ones.
step() {
    local name=$1 log=$2 began=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    printf '  %-44s' "$name"
    if "$@" 2>&1 | tee "$log" | latest_line "$name"; then
        printf '%4d s\n' $((SECONDS - began))
    else
        printf ' failed\n'
        tail -n 25 "$log" >&2
        return 1
    fi
}
latest_line() {
    local line
    while IFS= read -r line; do
        if [[ -t 1 ]]; then printf '\r  %-44s  %.70s\e[K' "$1" "$line"; fi
    done
    if [[ -t 1 ]]; then printf '\r  %-44s\e[K' "$1"; fi
}
