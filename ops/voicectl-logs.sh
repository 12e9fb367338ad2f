# shellcheck shell=bash
# voicectl: the log, wherever it is kept; made readable by the image itself. Sourced by voicectl.
# shellcheck disable=SC2153  # look sets STATE

verb_logs() {
    local follow=0 unit='' since='' lines='' output=short
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
    [[ -z $since ]] || since=$(seconds_of "$since") || fatal "--since $since: no time that date(1) understands"
    look
    [[ $STATE != absent ]] || fatal "$NAME has never run here"
    ((!follow)) || lines=${lines:-10}
    # Lines of one unit can be counted only when the others are gone.
    if [[ $unit && $lines && $follow == 0 ]]; then
        raw_log 0 "$since" '' | readable "$output" "$unit" | tail -n "$lines"
    else
        raw_log "$follow" "$since" "$lines" | readable "$output" "$unit"
    fi
}
verb_trace() {
    local options=()
    look
    [[ $STATE != absent ]] || fatal "$NAME has never run here"
    mapfile -t options < <(colour_options)
    raw_log 0 '' '' | by_the_image trace "${options[@]}" "$@"
}

# 10m, 2h, 3d or a date, as seconds of the epoch.
seconds_of() {
    local -A long=([s]=seconds [m]=minutes [h]=hours [d]=days)
    if [[ $1 =~ ^-?([0-9]+)([smhd])$ ]]; then
        date -d "-${BASH_REMATCH[1]} ${long[${BASH_REMATCH[2]}]}" +%s
    else
        date -d "$1" +%s 2>/dev/null
    fi
}

# --- raw_log FOLLOW SINCE LINES: as written, from the journal of the unit or from the engine
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

# --- readable short|json|cat UNIT: filters stdin
readable() {
    local options=()
    if [[ $1 == json && ! $2 ]]; then cat && return; fi
    mapfile -t options < <(colour_options)
    options+=(--output "$1")
    [[ -z $2 ]] || options+=(--unit "$2")
    by_the_image logs "${options[@]}"
}
by_the_image() {
    if [[ $STATE == active ]]; then inside "$@"; else apart "$@"; fi
}

# --- how it ended, in one line: what the log says of it, or else what the exit code means
how_it_ended() {
    local what code=$EXIT
    what=$(last_word what)
    # The engine has started it again already.
    if ((RESTARTS)); then code=$(last_word exit_code); fi
    what=${what:-$(meaning "$code")}
    printf 'it ended%s: %s' "${code:+ with exit code $code}" "${what%.}"
}
meaning() {
    if [[ $OOM == true ]]; then echo 'it took more memory than it may' && return; fi
    case $1 in
        0) echo 'as if it had been told to' ;;
        70) echo 'a process could not be kept running, or a defect' ;;
        71) echo 'supervisord or the guard ended, or hung' ;;
        78) echo 'an operator has to change something' ;;
        79) echo 'the seal is broken' ;;
        80) echo 'a process died again and again' ;;
        81) echo 'a process did not answer, even restarted' ;;
        82) echo 'a process never got ready' ;;
        83) echo 'a process took more and more memory, even restarted' ;;
        84) echo 'the card is gone' ;;
        125 | 126 | 127) echo 'the container could not be started' ;;
        137) echo 'it was killed, as for lack of memory or for not stopping in time' ;;
        '') echo 'see voicectl logs' ;;
        *) echo 'no reason was given; see voicectl logs' ;;
    esac
}
# A field of the last line that tells why something ended.
last_word() {
    raw_log 0 "$BEGAN" 200 2>/dev/null | grep -E '"exit_code": ?[0-9]' | tail -n 1 |
        sed -nE "s/.*\"$1\": ?(\"(([^\"\\\\]|\\\\.)*)\"|([0-9]+)).*/\\2\\4/p" | sed 's/\\"/"/g' || true
}
last_lines() {
    raw_log 0 '' "$1" | readable short '' 2>/dev/null || raw_log 0 '' "$1"
}
