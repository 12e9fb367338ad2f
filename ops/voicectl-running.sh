# shellcheck shell=bash
# voicectl: start, stop, wait until calls are taken. By the unit, or the engine. Sourced by voicectl.

readonly READY_SECONDS=${VOICE_READY_SECONDS:-900} # the gpu profile reads 16 GB before it starts

verb_start() {
    local block=1
    if [[ ${1:-} == --no-block ]]; then block=0 && shift; fi
    if (($#)); then
        control start "$1"
        return
    fi
    finish_unfinished
    look
    if [[ $STATE == active ]]; then
        info "$NAME runs already"
        return
    fi
    start_it || fatal "$WHY"
    ((block)) || return 0
    wait_ready || fatal "$WHY"
}
verb_stop() {
    if (($#)); then
        control stop "$1"
        return
    fi
    look
    # One that has failed may be about to be started again.
    if [[ $STATE == inactive || $STATE == absent ]]; then
        info "$NAME does not run"
        return
    fi
    stop_it || fatal "$WHY"
    info "$NAME is stopped"
}
verb_restart() {
    if [[ ${1:-} == --no-block && ${2:-} ]]; then shift; fi # one unit is not waited for
    if [[ ${1:-} && $1 != --no-block ]]; then
        control restart "$1"
        return
    fi
    finish_unfinished
    stop_it || fatal "$WHY"
    verb_start "$@"
}
verb_drain() {
    look
    [[ $STATE == active ]] || fatal "$NAME does not run"
    inside drain "$@"
}
verb_verify() {
    look
    id_of "${IMAGE:-$CURRENT}" >/dev/null || fatal 'no release is activated: voicectl releases'
    if [[ $STATE == active ]]; then inside verify "$@"; else apart verify "$@"; fi
}
# Also of a release that is imported and not activated yet, which is when they are set.
verb_settings() {
    local newest
    look
    if [[ $STATE == active ]]; then
        inside settings
        return
    fi
    newest=$(imported | tail -n 1)
    id_of "$CURRENT" >/dev/null || IMAGE=${newest##* }
    [[ ${IMAGE:-} ]] || id_of "$CURRENT" >/dev/null || fatal 'no release is imported'
    # shellcheck disable=SC2034  # for apart
    [[ ! -f $ETC/appliance.env ]] || APART=(--env-file="$ETC/appliance.env")
    apart settings
}
verb_smoke_test() { exec "$(smoke_test)" --engine "$ENGINE" "$@"; }
smoke_test() { printf %s "${VOICE_SMOKE_TEST:-$HERE/smoke-test}"; }

# --- control ACTION UNIT: one process, by supervisord inside
control() {
    [[ " ${UNITS[*]} " == *" $2 "* ]] || fatal "no unit $2; there are: ${UNITS[*]}"
    look
    [[ $STATE == active ]] || fatal "$NAME does not run"
    "$ENGINE" exec "$NAME" supervisorctl -s unix:///run/voice/supervisor.sock "$1" "$2"
}

# --- how the engine is told to run it where there is no unit; sets RUN
make_run_line() {
    local flags=()
    mapfile -t flags < <(grep -hs '^--' "$HERE/container.flags" "$ETC/host.flags")
    RUN=(run --detach --name "$NAME" --pull=never --restart=on-failure:3)
    # So that the log does not fill the disk.
    case $ENGINE in
        podman) RUN+=(--log-driver=k8s-file --log-opt=max-size=50mb) ;;
        docker) RUN+=(--log-driver=local --log-opt=max-size=10m --log-opt=max-file=5) ;;
    esac
    [[ ! -f $ETC/appliance.env ]] || RUN+=(--env-file="$ETC/appliance.env")
    [[ ! -f $ETC/token ]] || RUN+=(--volume="$ETC/token:/run/secrets/voice-token:ro,z")
    [[ ! -d $ETC/tls ]] || RUN+=(--volume="$ETC/tls:/run/secrets/tls:ro,z")
    RUN+=("${flags[@]}" "$CURRENT")
}

# --- start_it, stop_it: each says in WHY what went wrong
start_it() {
    local said
    id_of "$CURRENT" >/dev/null || { WHY='no release is activated: voicectl releases'; return 1; }
    if [[ $BACKEND == systemd ]]; then
        systemctl reset-failed "$UNIT" 2>/dev/null || true
        said=$(systemctl start --no-block "$UNIT" 2>&1) || { WHY="systemctl start $UNIT: $said"; return 1; }
        return
    fi
    may_run || return
    set_aside
    make_run_line
    said=$("$ENGINE" "${RUN[@]}" 2>&1) || { WHY="$ENGINE run: $said"; return 1; }
}
# What is this host's own is not guessed: fails, and says in WHY what is missing.
may_run() {
    if [[ ! -s $ETC/token ]]; then
        WHY="$ETC/token is missing: callers need one; voicectl preflight"
    elif ! grep -qsE '^--(publish|net)' "$ETC/host.flags"; then
        WHY="$ETC/host.flags names no port, so that nobody could call: copy units/host.flags of the release there"
    else
        return 0
    fi
    return 1
}
# The container that ran last is kept until the next one has ended, for its log.
set_aside() {
    "$ENGINE" container inspect "$NAME" >/dev/null 2>&1 || return 0
    "$ENGINE" rm --force "$LAST" >/dev/null 2>&1 || true
    "$ENGINE" rename "$NAME" "$LAST" >/dev/null
}
stop_it() {
    local said
    look
    if [[ $BACKEND == systemd ]]; then
        said=$(systemctl stop "$UNIT" 2>&1) || { WHY="systemctl stop $UNIT: $said"; return 1; }
    elif [[ $STATE != absent ]]; then
        # One that has ended too, since the engine may be about to start it again.
        said=$("$ENGINE" stop "$NAME" 2>&1) || [[ $STATE != active ]] || { WHY="$ENGINE stop: $said"; return 1; }
    fi
}

# --- wait_ready: until calls are taken. Fails, and says why, when it ended, even if the host has
#     restarted it since; when the time is over; when INTERRUPTED.
wait_ready() {
    local began=$SECONDS ended=0 waited='' answer
    while ((SECONDS - began < READY_SECONDS)); do
        [[ ! ${INTERRUPTED:-} ]] || { WHY=interrupted; return 1; }
        look
        if [[ $STATE == active && $RESTARTS == 0 ]]; then
            if answer=$(inside health </dev/null 2>/dev/null); then
                progress ''
                info "ready after $((SECONDS - began)) s"
                return 0
            fi
            ended=0 waited=${answer:-waiting for an answer}
            progress "$waited  $((SECONDS - began)) s"
        elif [[ $STATE != activating && $STATE != deactivating ]] && ((++ended > 1 || RESTARTS)); then
            progress ''
            WHY=$(how_it_ended)
            return 1
        fi
        sleep 1
    done
    progress ''
    WHY="not ready in $READY_SECONDS s${waited:+: $waited}"
    return 1
}
progress() { if is_terminal; then printf '\r%s\e[K' "${1:0:79}"; fi; }
