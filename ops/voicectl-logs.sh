# shellcheck shell=bash
# voicectl: reads the log from the journal or the engine, and lets the image format it. Sourced by voicectl.
# shellcheck disable=SC2153  # inspect sets STATE

command_logs() {
    local follow=0 unit='' since='' seconds='' lines='' output=short
    while (($#)); do
        case $1 in
            -f | --follow) follow=1 ;;
            -u | --unit) unit=${2:?-u needs a unit} && shift ;;
            --since) since=${2:?--since needs a time} && shift ;;
            -n | --lines) lines=${2:?-n needs a number} && shift ;;
            -o | --output) output=${2:?-o is short, json or cat} && shift ;;
            -fu | -fn) set -- -f "-${1:2}" "${@:2}" && continue ;;
            *) fatal "unknown option $1; see voicectl logs --help" ;;
        esac
        shift
    done
    [[ $output =~ ^(short|json|cat)$ ]] || fatal "-o is short, json or cat, not $output"
    [[ $lines =~ ^[0-9]*$ ]] || fatal "-n takes a number, not $lines"
    if [[ $since ]]; then
        seconds=$(parse_time "$since") || fatal "--since $since is not a time that date(1) understands"
    fi
    inspect
    [[ $STATE != absent ]] || fatal "$NAME has never run here"
    ((!follow)) || lines=${lines:-10}
    # The lines of one unit can be counted only after the others are filtered out.
    if [[ $unit && $lines && $follow == 0 ]]; then
        raw_log 0 "$seconds" '' | format_log "$output" "$unit" | tail -n "$lines"
    else
        raw_log "$follow" "$seconds" "$lines" | format_log "$output" "$unit"
    fi
}
command_trace() {
    local options=()
    inspect
    [[ $STATE != absent ]] || fatal "$NAME has never run here"
    mapfile -t options < <(colour_options)
    raw_log 0 '' '' | in_any_container trace "${options[@]}" "$@"
}
# Files of the host are passed as a tar, because the container does not see them.
command_audit() {
    local action=${1:-} files=() options=()
    [[ $action =~ ^(verify|head)$ ]] || fatal 'audit takes verify or head; see voicectl audit --help'
    shift
    while (($#)); do
        case $1 in
            --log) options+=(--log) ;;
            --noted) options+=(--noted "${2:?--noted needs a hash}") && shift ;;
            -*) fatal "unknown option $1; see voicectl audit --help" ;;
            *) [[ -r $1 ]] || fatal "$1 cannot be read" && files+=("$1") ;;
        esac
        shift
    done
    inspect
    if ((${#files[@]})); then
        choose_image
        tar --create --absolute-names --file=- -- "${files[@]}" | in_any_container audit "$action" --tar "${options[@]}"
        return
    fi
    [[ $STATE != absent ]] || fatal "$NAME has never run here"
    # The log is not read if there is a folder.
    { raw_log 0 '' '' 2>/dev/null || true; } | in_any_container_here audit "$action" "${options[@]}"
}

# parse_time TIME: convert 10m, 2h, 3d or a date to epoch seconds.
parse_time() {
    local -A names=([s]=seconds [m]=minutes [h]=hours [d]=days)
    if [[ $1 =~ ^-?([0-9]+)([smhd])$ ]]; then
        date -d "-${BASH_REMATCH[1]} ${names[${BASH_REMATCH[2]}]}" +%s
    else
        date -d "$1" +%s 2>/dev/null
    fi
}

# --- raw_log FOLLOW SINCE LINES: print the unformatted log, from the journal of the unit or from the engine
raw_log() {
    local follow=$1 since=$2 lines=$3 options=()
    if [[ $BACKEND == systemd ]]; then
        options=(--unit "$UNIT" --output cat --no-pager --quiet)
        [[ -z $since ]] || options+=(--since "@$since")
        [[ -z $lines ]] || options+=(--lines "$lines")
        ((!follow)) || options+=(--follow)
        journalctl "${options[@]}"
        return
    fi
    [[ -z $since ]] || options+=(--since "$(date -u -d "@$since" +%FT%TZ)")
    [[ -z $lines ]] || options+=(--tail "$lines")
    ((!follow)) || options+=(--follow)
    "$ENGINE" logs "${options[@]}" "$NAME" 2>&1
}

# --- format_log short|json|cat UNIT: filter and format the log on stdin
format_log() {
    local options=()
    mapfile -t options < <(colour_options)
    options+=(--output "$1")
    [[ -z $2 ]] || options+=(--unit "$2")
    in_any_container logs "${options[@]}"
}

# --- exit_reason [--plain | --json] [--lines N]: print why the container exited. The image finds it in the log.
exit_reason() {
    local options=()
    [[ ! $(exit_code) ]] || options=(--exit-code "$EXIT")
    [[ $OOM != true ]] || options+=(--out-of-memory)
    { raw_log 0 "$BEGAN" 200 2>/dev/null || true; } | in_new_container exit-reason "${options[@]}" "$@" 2>/dev/null
}
describe_exit() {
    local reason code
    code=$(exit_code)
    reason=$(exit_reason --plain) || reason="exit code ${code:-unknown}: see voicectl logs"
    printf 'it stopped with %s' "$reason"
}
# After a restart by the engine or the unit only the log has the exit code.
exit_code() { if [[ $RESTARTS == 0 ]]; then printf %s "$EXIT"; fi; }
