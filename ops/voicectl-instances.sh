# shellcheck shell=bash
# voicectl: the instances of a host with several cards, and releases that are closed to callers. Sourced by voicectl.
# shellcheck disable=SC2034,SC2153,SC2154  # other parts use and set these variables

readonly INSTANCES=$ETC/instances CALLS_PORT=8765 METRICS_PORT=9465 # the ports of instance 0, as in values.toml
readonly STOP_SECONDS=26 # of an orderly stop, without the calls: stop_seconds in appliance/supervision/boot.py

# --- instances: print the numbers of this host's instances
instances() {
    local file
    for file in "$INSTANCES"/*.env; do
        [[ ! -e $file ]] || basename "$file" .env
    done | sort -n
}
# need_instance COMMAND: fail if the command is for one appliance, and this host has only instances.
need_instance() {
    local found
    case $1 in
        start | stop | restart | logs | trace | drain | close | open | activate | rollback | smoke-test | audit) ;;
        *) return 0 ;;
    esac
    if [[ $INSTANCE ]] || image_id "$CURRENT" >/dev/null; then return 0; fi
    found=$(instances | paste -sd ' ' -)
    [[ ! $found ]] || fatal "this host has instances: add --instance N before the command. Instances: $found"
}
# Write the ports of an instance for its unit, unless the file is there. Fails, and sets WHY.
write_instance() {
    [[ ! -e $INSTANCES/$INSTANCE.env ]] || return 0
    WHY="cannot write to $INSTANCES: run this as root"
    {
        mkdir -p "$INSTANCES" && printf '%s\n' \
            "# The ports of instance $INSTANCE on this host." \
            "CALLS_PORT=$((CALLS_PORT + INSTANCE))" "METRICS_PORT=$((METRICS_PORT + INSTANCE))" >"$INSTANCES/$INSTANCE.env"
    } 2>/dev/null
}

# --- host_flags: print this host's flags of podman run. An instance gets its own ports and card, and the flags
#     of its own file; of two flags of the same name the last counts.
host_flags() {
    local flag
    while IFS= read -r flag; do
        [[ ! $INSTANCE ]] || flag=$(of_instance "$flag")
        printf '%s\n' "$flag"
    done < <(grep -hs '^--' "$ETC/host.flags")
    [[ ! $INSTANCE ]] || grep -hs '^--' "$INSTANCES/$INSTANCE.flags" || true
}
of_instance() {
    if [[ $1 =~ ^(--publish=(.*:)?)([0-9]+):([0-9]+)$ ]]; then
        printf %s "${BASH_REMATCH[1]}$((10#${BASH_REMATCH[3]} + INSTANCE)):${BASH_REMATCH[4]}"
    elif [[ $1 == --device=nvidia.com/gpu=* ]]; then
        printf %s "--device=nvidia.com/gpu=$INSTANCE"
    elif [[ $1 == --gpus=* ]]; then
        printf %s "--gpus=device=$INSTANCE"
    else
        printf %s "$1"
    fi
}
# instance_checks: set INSTANCE_OPTIONS, with which preflight looks at the port and the card of the instance
instance_checks() {
    INSTANCE_OPTIONS=()
    [[ ! $INSTANCE ]] || INSTANCE_OPTIONS=(--port "$((CALLS_PORT + INSTANCE))" --card "$INSTANCE")
}

# --- status_of_all FORM: show every instance, and exit with the highest of their exit codes
status_of_all() {
    local form=$1 option=--plain number line answer code highest=0 separator='' all=()
    mapfile -t all < <(instances)
    if image_id "$CURRENT" >/dev/null; then all=('' "${all[@]}"); fi
    if [[ $form == json ]]; then option=--json && printf '{"instances": {'; fi
    for number in "${all[@]}"; do
        code=0
        if [[ $number ]]; then
            answer=$("$HERE/voicectl" --engine "$ENGINE" --instance "$number" status "$option") || code=$?
        else
            answer=$(status_of_this "${option#--}") || code=$?
        fi
        ((code <= highest)) || highest=$code
        # shellcheck disable=SC2001  # at the beginning of every line
        case $form in
            json) printf '%s\n"%s": %s' "$separator" "$number" "$answer" && separator=, ;;
            plain) while IFS= read -r line; do printf '%s\n' "${number:+instance $number: }$line"; done <<<"$answer" ;;
            screen) print_instance "${number:+instance $number}" "$code" "$answer" ;;
        esac
    done
    [[ $form != json ]] || printf '\n}}\n'
    exit "$highest"
}
# print_instance TITLE CODE PLAIN: print one line from the status in plain form.
print_instance() {
    local dot state release
    if (($2)); then dot=$(colour '31;1' '×'); else dot=$(colour '32;1' '●'); fi
    state=$(sed -n '1s/^[a-z]*: [a-z0-9-]*: *//p' <<<"$3")
    release=$(sed -n 's/^current: \([^ ]*\) .*/\1/p' <<<"$3")
    printf '%s %-12s %-14s %s\n' "$dot" "${1:-appliance}" "${release:-no release}" "$state"
}

# --- mark_start_closed, unmark_start_closed: from now on, each start is closed to callers, or open. Boot looks at the
#     file at each start, so a container that crashes during its smoke test is closed again, and one that crashes
#     later, or starts with the host, is open. Fail, and set WHY.
mark_start_closed() {
    WHY="cannot write to $START_FOLDER: run this as root"
    { mkdir -p "$START_FOLDER" && touch "$START_CLOSED"; } 2>/dev/null
}
unmark_start_closed() {
    WHY="cannot remove $START_CLOSED, so that each start is closed to callers"
    rm -f "$START_CLOSED" 2>/dev/null
}
# --- ensure_closed: see that a release that was just started is closed. If its unit is older and does not show it the
#     mark, close it before it is ready: loading its models takes longer than this. If the release ends, wait_ready
#     says why. Fails, and sets WHY, if INTERRUPTED is set.
ensure_closed() {
    local began=$SECONDS exited=0 code
    while ((SECONDS - began < READY_SECONDS)); do
        [[ ! ${INTERRUPTED:-} ]] || { WHY=interrupted; return 1; }
        code=0
        in_container close </dev/null >/dev/null 2>&1 || code=$?
        case $code in
            0)
                is_mounted "$HOST_FOLDER" ||
                    warn 'the installed unit is of an older release, so that this one was open before it was closed; see units.md'
                return 0
                ;;
            "$UNKNOWN_COMMAND")
                warn 'this release cannot be closed: it takes calls before its smoke test'
                return 0
                ;;
        esac
        inspect
        if [[ $STATE != act* && $STATE != deactivating ]] && ((++exited > 1 || RESTARTS)); then return 0; fi
        sleep 0.3
    done
}
is_closed() { [[ $(in_container status --json </dev/null 2>/dev/null) == *'"closed": true'* ]]; }
open_appliance() {
    unmark_start_closed || return
    WHY='it could not be opened: voicectl open'
    in_container open </dev/null >/dev/null # a closed terminal is not a failure
}

# --- warn_of_short_stop: warn if calls may continue longer after a stop signal than the engine waits for the
#     container. The units and container.flags have the time for the default.
warn_of_short_stop() {
    local wanted timeout
    wanted=$(site_setting DRAIN_SECONDS) && wanted=${wanted%%.*}
    is_number "$wanted" || return 0 # the release refuses a wrong one
    if [[ $BACKEND == systemd ]]; then
        timeout=$(systemctl cat "$UNIT" 2>/dev/null | grep -oE -- '--stop-timeout=[0-9]+' | tail -n 1)
    else
        timeout=$({ cat "$HERE/container.flags"; host_flags; } | grep -oE '^--stop-timeout=[0-9]+' | tail -n 1)
    fi || return 0
    timeout=${timeout#*=}
    is_number "$timeout" || return 0
    ((wanted + STOP_SECONDS < timeout)) ||
        warn "VOICE_GATEWAY_DRAIN_SECONDS=$wanted does not fit into --stop-timeout=$timeout: calls would be cut off earlier; see units.md"
}
