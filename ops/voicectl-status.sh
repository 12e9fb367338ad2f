# shellcheck shell=bash
# voicectl: shows the status. A running appliance reports its own; this adds facts that only the host has.
# Sourced by voicectl.
# shellcheck disable=SC2153  # inspect sets STATE

readonly ACCEPTING_CALLS=0 NOT_RUNNING=3 UNKNOWN=4 UNKNOWN_COMMAND=2 # exit codes

command_status() {
    local form=screen
    case ${1:-} in
        '') ;;
        --json | --plain) form=${1#--} ;;
        *) fatal "unknown option $1; see voicectl status --help" ;;
    esac
    if [[ ! $INSTANCE && $(instances) ]]; then status_of_all "$form"; fi
    status_of_this "$form"
}
# status_of_this FORM: show the appliance or instance that the options name, and exit.
status_of_this() {
    local form=$1
    finish_unfinished
    inspect
    query_appliance "$form"
    read_unfinished || UNFINISHED=''
    "status_$form"
    exit "$CODE"
}

# --- query_appliance FORM: set ANSWER (the running appliance's own status, or empty), WORD (the state),
#     WAITING (the components it waits for) and CODE
query_appliance() {
    local options=() code=0 answer
    ANSWER='' WORD=$STATE CODE=$NOT_RUNNING
    if [[ $STATE == absent ]]; then CODE=$UNKNOWN && return; fi
    [[ $STATE == active ]] || return 0
    if [[ $1 == screen ]]; then
        mapfile -t options < <(colour_options)
        # It shows the last lines of the log, and may stop reading early.
        ANSWER=$(raw_log 0 '' 50 | in_container status --lines 8 "${options[@]}" 2>/dev/null; exit "${PIPESTATUS[1]}") || code=$?
    else
        ANSWER=$(in_container status "--$1" </dev/null 2>/dev/null) || code=$?
    fi
    CODE=$code
    ((code == UNKNOWN_COMMAND || code > 4)) || return 0
    # An old release without this command, or one that is too busy starting up.
    ANSWER='' CODE=$ACCEPTING_CALLS
    if answer=$(in_container health </dev/null 2>/dev/null); then return; fi
    WORD=activating CODE=$NOT_RUNNING
    if [[ $answer ]]; then WAITING=$answer; else CODE=$UNKNOWN WAITING='it does not respond'; fi
}

# --- one screen
status_screen() {
    if [[ $ANSWER ]]; then printf '%s\n\n' "$ANSWER"; else print_state; fi
    row 'Run by' "$(runner)"
    print_slot Release "$CURRENT"
    print_slot Previous "$PREVIOUS"
    [[ ! $UNFINISHED ]] || row Change "to $RELEASE is in progress: $UNFINISHED"
    [[ $STATE == absent ]] || row Limits "$(limits)"
    row 'Host GPU' "$(gpus)"
    print_hints
}
print_state() {
    local dot
    case $WORD in
        active) dot=$(colour '32;1' '●') ;;
        activating) dot=$(colour '33;1' '●') ;;
        failed) dot=$(colour '31;1' '×') ;;
        *) dot='○' ;;
    esac
    printf '%s %s\n' "$dot" "$NAME"
    case $WORD in
        active) row State "$(colour '32;1' 'active (running)')" ;;
        activating) row State "$(colour '33;1' activating)${WAITING:+ ($WAITING)}" ;;
        failed) row State "$(colour '31;1' failed)" ;;
        deactivating) row State deactivating ;;
        inactive) row State 'inactive (dead)' ;;
        absent) row State 'no release was activated here' ;;
    esac
    [[ ! $SINCE ]] || row Since "$(date -d "@$SINCE" '+%a %F %T %Z')"
    if [[ $WORD == failed ]]; then
        exit_reason --lines 8 || row Exit "code ${EXIT:-unknown}"
        printf '\n'
    fi
}
# row LABEL TEXT: print a row, aligned as in the appliance's own status; nothing if TEXT is empty.
row() {
    local colon=:
    [[ $2 ]] || return 0
    [[ $1 ]] || colon=' '
    printf '%10s%s %s\n' "$1" "$colon" "$2"
}
print_slot() {
    local id when
    id=$(image_id "$2") || return 0
    when=$(activated_when "$id")
    row "$1" "$(release_of "$id"), $(short_id "$id")${when:+, $(activated_at "$when")}"
    if [[ $1 == Release && $STATE == active && $IMAGE != "$id" ]]; then
        row '' "but $(release_of "$IMAGE") is running, $(short_id "$IMAGE")"
    fi
}
limits() {
    local text='no memory limit' device
    ((MEMORY == 0)) || text="memory $(megabytes "$MEMORY")"
    ((PIDS <= 0)) || text+=", $PIDS processes"
    device=$(host_flags | sed -n 's/^--\(device\|gpus\)[= ]//p' | paste -sd ' ' -) || device=''
    printf %s "$text${device:+, device $device}"
}
gpus() {
    # nvidia-smi hangs when a GPU is lost.
    timeout 5 nvidia-smi ${INSTANCE:+--id="$INSTANCE"} --query-gpu=name,memory.total,power.limit,driver_version --format=csv,noheader 2>/dev/null |
        sed -nE 's/^(.+), ([0-9]+ MiB), (.+), ([0-9.]+)$/\1, \2, at most \3, driver \4/p'
}
print_hints() {
    case $STATE in
        failed | inactive) printf '\n%s\n' 'voicectl start starts it; voicectl logs shows the log' ;;
        absent)
            printf '\n%s\n' 'voicectl releases lists the imported releases; voicectl activate VERSION runs one'
            if ((EUID != 0)); then info "You are $(id -un): your images in $ENGINE may differ from root's."; fi
            ;;
    esac
}

# --- plain: one line per fact, in the style of gitlab-ctl and runit
status_plain() {
    local slot id
    if [[ $ANSWER ]]; then
        printf '%s\n' "$ANSWER"
    elif [[ $WORD == active || $WORD == activating ]]; then
        printf 'run: %s: %s%s\n' "$NAME" "$WORD" "${WAITING:+, $WAITING}"
    else
        printf 'down: %s: %s%s\n' "$NAME" "$WORD" "${EXIT:+, exit code $EXIT}"
    fi
    for slot in current previous; do
        if id=$(image_id "$REPOSITORY:$slot$SUFFIX"); then printf '%s: %s %s\n' "$slot" "$(release_of "$id")" "$id"; fi
    done
}

# --- JSON: `appliance` and `reason` come from the image
status_json() {
    local reason=null code=null running=null
    if [[ $STATE == failed ]]; then reason=$(exit_reason --json) || reason=null; fi
    if [[ $STATE == active ]]; then running=$(json_string "$IMAGE"); elif [[ $EXIT ]]; then code=$EXIT; fi
    printf '{\n  "state": "%s", "backend": "%s", "engine": "%s",\n' "$WORD" "$BACKEND" "$ENGINE"
    printf '  "exit_code": %s, "since_epoch_seconds": %s,\n' "$code" "${SINCE:-null}"
    printf '  "waiting": %s,\n  "reason": %s,\n' "$(json_string "${WAITING:-}")" "$reason"
    printf '  "current": %s,\n  "previous": %s,\n' "$(slot_json "$CURRENT")" "$(slot_json "$PREVIOUS")"
    printf '  "running_image_id": %s,\n' "$running"
    printf '  "change": %s,\n' "$(json_string "${UNFINISHED:+$RELEASE: $UNFINISHED}")"
    printf '  "limits": {"memory_bytes": %d, "processes": %d},\n' "$MEMORY" "$PIDS"
    printf '  "appliance": %s\n}\n' "${ANSWER:-null}"
}
slot_json() {
    local id
    if id=$(image_id "$1"); then
        printf '{"release": %s, "id": "%s", "activated": "%s"}' "$(json_string "$(release_of "$id")")" "$id" "$(activated_when "$id")"
    else
        printf null
    fi
}
