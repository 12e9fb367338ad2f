# shellcheck shell=bash
# voicectl: one screen. What runs tells of itself; what does not is told of here. Sourced by voicectl.
# shellcheck disable=SC2153  # look sets STATE

readonly RUNS=0 NOT_RUNNING=3 UNKNOWN=4 NO_SUCH_VERB=2

verb_status() {
    local form=screen
    case ${1:-} in
        '') ;;
        --json | --plain) form=${1#--} ;;
        *) fatal "unknown option $1; see voicectl status --help" ;;
    esac
    finish_unfinished
    look
    ask_inside "$form"
    read_unfinished || UNFINISHED=''
    "status_$form"
    exit "$CODE"
}

# --- sets INNER (what the running appliance tells of itself), WORD (for the state) and CODE
ask_inside() {
    local options=() code=0 answer
    INNER='' WORD=$STATE CODE=$NOT_RUNNING
    if [[ $STATE == absent ]]; then CODE=$UNKNOWN && return; fi
    [[ $STATE == active ]] || return 0
    if [[ $1 == screen ]]; then
        mapfile -t options < <(colour_options)
        # It shows the last lines of the log, if it gets them; that it stops reading is no trouble.
        INNER=$(raw_log 0 '' 50 | inside status --lines 8 "${options[@]}" 2>/dev/null; exit "${PIPESTATUS[1]}") || code=$?
    else
        INNER=$(inside status "--$1" </dev/null 2>/dev/null) || code=$?
    fi
    CODE=$code
    ((code == NO_SUCH_VERB || code > 4)) || return 0
    # A release that has no such verb, or is too busy with its start.
    INNER='' CODE=$RUNS
    if answer=$(inside health </dev/null 2>/dev/null); then return; fi
    WORD=activating CODE=$NOT_RUNNING
    if [[ $answer ]]; then WAITING=$answer; else CODE=$UNKNOWN WAITING='it does not answer'; fi
}

# --- for a person
status_screen() {
    if [[ $INNER ]]; then printf '%s\n\n' "$INNER"; else say_state; fi
    row 'Run by' "$(runner)"
    say_slot Release "$CURRENT"
    say_slot Previous "$PREVIOUS"
    [[ ! $UNFINISHED ]] || row Change "to $RELEASE is going on: $UNFINISHED"
    [[ $STATE == absent ]] || row Limits "$(limits)"
    row Card "$(card)"
    [[ $STATE == active || $STATE == activating ]] || say_what_to_do
}
say_state() {
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
        failed)
            row State "$(colour '31;1' failed)${EXIT:+ (exit code $EXIT: $(meaning "$EXIT"))}"
            row Reason "$(last_word what)"
            row Advice "$(last_word advice)"
            ;;
        deactivating) row State deactivating ;;
        inactive) row State 'inactive (dead)' ;;
        absent) row State 'no release was activated here' ;;
    esac
    [[ ! $SINCE ]] || row Since "$(moment "$SINCE"); $(ago "$SINCE")"
}
# A title, and its text on as many lines as 80 columns want; nothing without text.
row() {
    local head line
    [[ $2 ]] || return 0
    printf -v head '%10s%s' "$1" "${1:+:}"
    while IFS= read -r line; do
        printf '%-11s %s\n' "$head" "$line" | sed 's/ *$//'
        head=''
    done < <(folded "$2")
}
folded() { if [[ $1 == *$'\e'* ]]; then printf '%s\n' "$1"; else fold --spaces --width=68 <<<"$1"; fi; }
say_slot() {
    local id when
    id=$(id_of "$2") || return 0
    when=$(activated_when "$id")
    row "$1" "$(release_of "$id"), $(short "$id")${when:+, $(minute "$when")}"
    if [[ $1 == Release && $STATE == active && $IMAGE != "$id" ]]; then
        row '' "but what runs is $(release_of "$IMAGE"), $(short "$IMAGE")"
    fi
}
limits() {
    local text='no memory limit' device
    ((MEMORY == 0)) || text="memory $(megabytes "$MEMORY")"
    ((PIDS <= 0)) || text+=", $PIDS processes"
    device=$(sed -n 's/^--\(device\|gpus\)[= ]//p' "$ETC/host.flags" 2>/dev/null | paste -sd ' ' -) || device=''
    printf %s "$text${device:+, card $device}"
}
card() {
    # It hangs when a card is lost.
    timeout 5 nvidia-smi --query-gpu=name,memory.total,power.limit,driver_version --format=csv,noheader 2>/dev/null |
        sed -nE 's/^(.+), ([0-9]+ MiB), (.+), ([0-9.]+)$/\1, \2, at most \3, driver \4/p'
}
say_what_to_do() {
    printf '\n'
    case $STATE in
        failed | inactive)
            # Uncoloured, as the last lines of one that runs are, so that they can be cut.
            if [[ $STATE == failed ]]; then TERMINAL=no last_lines 8 | sed -E 's/^(.{79}).{2,}$/\1…/' && printf '\n'; fi
            info 'voicectl start starts it; voicectl logs says more'
            ;;
        absent)
            info 'voicectl releases lists what is imported, voicectl activate VERSION takes one'
            if ((EUID != 0)); then info "Looked at as $(id -un), whose $ENGINE may not be root's."; fi
            ;;
    esac
}

# --- one line per thing, as gitlab-ctl and runit write it
status_plain() {
    local slot id
    if [[ $INNER ]]; then
        printf '%s\n' "$INNER"
    elif [[ $WORD == active || $WORD == activating ]]; then
        printf 'run: %s: %s%s\n' "$NAME" "$WORD" "${WAITING:+, $WAITING}"
    else
        printf 'down: %s: %s%s\n' "$NAME" "$WORD" "${EXIT:+, exit code $EXIT}"
    fi
    for slot in current previous; do
        if id=$(id_of "$REPOSITORY:$slot"); then printf '%s: %s %s\n' "$slot" "$(release_of "$id")" "$id"; fi
    done
}

# --- for machines
status_json() {
    printf '{\n  "state": "%s", "backend": "%s", "engine": "%s",\n' "$WORD" "$BACKEND" "$ENGINE"
    printf '  "exit_code": %s, "since_epoch_seconds": %s,\n' "$(exit_code)" "${SINCE:-null}"
    printf '  "waiting": %s, "reason": %s,\n' "$(json_string "${WAITING:-}")" \
        "$(json_string "$([[ $STATE != failed ]] || last_word what)")"
    printf '  "current": %s,\n  "previous": %s,\n' "$(json_slot "$CURRENT")" "$(json_slot "$PREVIOUS")"
    printf '  "running_image_id": %s,\n' "$([[ $STATE == active ]] && json_string "$IMAGE" || echo null)"
    printf '  "change": %s,\n' "$(json_string "${UNFINISHED:+$RELEASE: $UNFINISHED}")"
    printf '  "limits": {"memory_bytes": %d, "processes": %d},\n' "$MEMORY" "$PIDS"
    printf '  "appliance": %s\n}\n' "${INNER:-null}"
}
exit_code() { if [[ $STATE == active || ! $EXIT ]]; then echo null; else echo "$EXIT"; fi; }
json_slot() {
    local id
    if id=$(id_of "$1"); then
        printf '{"release": %s, "id": "%s", "activated": "%s"}' "$(json_string "$(release_of "$id")")" "$id" "$(activated_when "$id")"
    else
        printf null
    fi
}
