# shellcheck shell=bash
# Shared by all scripts in this folder: paths, messages, errors, --help, long steps. Source it:
#   source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this file
VENV=$ROOT/.venv TORCH_VENV=$ROOT/.venv-torch NO_VLLM=3

# --- messages: progress on stdout, warnings and errors on stderr; fatal exits
info() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
fatal() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# --- help_from_header SCRIPT: print the script's header comment, which is its --help
help_from_header() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$1"
}

# --- fingerprint ITEM...: hash the contents of files, and other items as text. A stored fingerprint shows
#     whether a finished step is still up to date.
fingerprint() {
    local item
    for item in "$@"; do
        if [[ -f $item ]]; then cat "$item"; else printf '%s\n' "$item"; fi
    done | sha256sum | cut -d' ' -f1
}

# --- step NAME LOG COMMAND...: run a long command; print its name, then its duration. Its output goes to
#     LOG. A terminal shows the latest line of the output. After a failure the last lines are printed.
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
