# shellcheck shell=bash
# voicectl: starts and stops the appliance through the unit or the engine, and waits until it accepts calls.
# Sourced by voicectl.

readonly READY_SECONDS=${VOICE_READY_SECONDS:-900} # the gpu profile reads 16 GB before it starts

command_start() {
    local block=1
    if [[ ${1:-} == --no-block ]]; then block=0 && shift; fi
    if (($#)); then
        control_unit start "$1"
        return
    fi
    finish_unfinished
    inspect
    if [[ $STATE == active ]]; then
        info "$NAME is already running"
        return
    fi
    start_appliance || fatal "$WHY"
    ((block)) || return 0
    wait_ready || fatal "$WHY"
}
command_stop() {
    if (($#)); then
        control_unit stop "$1"
        return
    fi
    inspect
    # A failed container is stopped too: the unit or the engine may be about to restart it.
    if [[ $STATE == inactive || $STATE == absent ]]; then
        info "$NAME is not running"
        return
    fi
    stop_appliance || fatal "$WHY"
    info "$NAME is stopped"
}
command_restart() {
    if [[ ${1:-} == --no-block && ${2:-} ]]; then shift; fi # restarting a single unit never waits
    if [[ ${1:-} && $1 != --no-block ]]; then
        control_unit restart "$1"
        return
    fi
    finish_unfinished
    stop_appliance || fatal "$WHY"
    command_start "$@"
}
command_drain() {
    inspect
    [[ $STATE == active ]] || fatal "$NAME is not running"
    in_container drain "$@"
}
command_close() {
    (($# == 0)) || fatal "unknown option $1; see voicectl close --help"
    inspect
    [[ $STATE == active ]] || fatal "$NAME is not running"
    in_container close </dev/null
}
command_open() {
    (($# == 0)) || fatal "unknown option $1; see voicectl open --help"
    inspect
    [[ $STATE == active ]] || fatal "$NAME is not running"
    in_container open </dev/null
}
command_verify() {
    inspect
    image_id "${IMAGE:-$CURRENT}" >/dev/null || fatal 'no release is activated; see voicectl releases'
    in_any_container verify "$@"
}
# Also works before the first activation, because an operator sets them then.
command_settings() {
    inspect
    # The running container has the settings it was started with; --check reads those in the files.
    if [[ $STATE == active && ${1:-} != --check ]]; then
        in_container settings "$@"
        return
    fi
    choose_image
    in_new_container_here settings "$@"
}
# In a new container, with the lexicon as it is in the file now. The running container may still have the
# file that was there when it started, and its memory is limited.
command_say() {
    local text=() wav=''
    while (($#)); do
        case $1 in
            --wav) wav=${2:?--wav needs a file} && shift ;;
            *) text+=("$1") ;;
        esac
        shift
    done
    ((${#text[@]})) || fatal 'say needs a text; see voicectl say --help'
    inspect
    choose_image
    if [[ $wav && -e $wav && ! -f $wav ]]; then # a pipe or a device
        in_new_container_here say --wav=- -- "${text[@]}" </dev/null >"$wav"
        return
    elif [[ $wav ]]; then
        # An existing file stays as it is if this fails. Speech is private, as in the client.
        (umask 077 && in_new_container_here say --wav=- -- "${text[@]}" </dev/null >"$wav.partial") ||
            { rm -f "$wav.partial" && return 1; }
        mv -f "$wav.partial" "$wav"
        return
    fi
    in_new_container_here say -- "${text[@]}" </dev/null
}
# In a new container that may write the folder of the tokens. The running one may only read it.
command_token() {
    (($#)) || fatal 'token takes create, list or revoke; see voicectl token --help'
    inspect
    choose_image
    ensure_access || fatal "create the folder $ETC/access for user $IMAGE_USER"
    # shellcheck disable=SC2034 # in_new_container passes them
    EXTRA_FLAGS=(--volume="$ETC/access:/run/secrets/voice-access:rw,z" --env=VOICE_GATEWAY_TOKEN_STORE="$TOKEN_STORE")
    in_new_container token "$@" </dev/null
    if [[ $1 == create && $STATE == active ]] && ! is_mounted "${TOKEN_STORE%/*}"; then
        warn "the running appliance does not see $ETC/access: mount it (units.md) and restart"
    fi
}
# --- ensure_access: make the folder of the named tokens if there is none, so that each start mounts it and the first
#     token needs no restart. Compose makes a missing folder for root: the user of the image gets it.
ensure_access() {
    if [[ -d $ETC/access ]] && { ((EUID)) || [[ $(stat --format %u "$ETC/access") != 0 ]]; }; then return 0; fi
    install -d -m 0700 -o "$IMAGE_USER" -g "$IMAGE_USER" "$ETC/access"
}
is_mounted() { [[ " $("$ENGINE" container inspect --format '{{range .Mounts}}{{.Destination}} {{end}}' "$NAME") " == *" $1 "* ]]; }
# --- choose_image: set IMAGE to that of the container, otherwise of the current or the newest release
choose_image() {
    local newest
    newest=$(imported | tail -n 1)
    image_id "$CURRENT" >/dev/null || IMAGE=${newest##* }
    [[ ${IMAGE:-} ]] || image_id "$CURRENT" >/dev/null || fatal 'no release is imported'
}
command_smoke_test() { exec "$(smoke_test)" --engine "$ENGINE" --container "$NAME" --out "$RECORDS/reports" "$@"; }
smoke_test() { printf %s "${VOICE_SMOKE_TEST:-$HERE/smoke-test}"; }

# --- control_unit ACTION UNIT: control one process through supervisord in the container
control_unit() {
    [[ " ${UNITS[*]} " == *" $2 "* ]] || fatal "there is no unit $2; the units are: ${UNITS[*]}"
    inspect
    [[ $STATE == active ]] || fatal "$NAME is not running"
    "$ENGINE" exec "$NAME" supervisorctl -s unix:///run/voice/supervisor.sock "$1" "$2"
}

# --- make_run_line: set RUN, the engine's arguments to start the container without a unit
make_run_line() {
    local flags=()
    mapfile -t flags < <(grep -h '^--' "$HERE/container.flags"; host_flags)
    RUN=(run --detach --name "$NAME" --pull=never --restart=on-failure:3)
    # The log must not fill the disk.
    case $ENGINE in
        podman) RUN+=(--log-driver=k8s-file --log-opt=max-size=50mb) ;;
        docker) RUN+=(--log-driver=local --log-opt=max-size=10m --log-opt=max-file=5) ;;
    esac
    [[ ! -d $START_FOLDER ]] || RUN+=(--volume="$START_FOLDER:$HOST_FOLDER:ro,z")
    site_flags
    RUN+=("${SITE_FLAGS[@]}" "${flags[@]}" "$CURRENT")
}

# --- start_appliance [closed], stop_appliance: set WHY on failure
start_appliance() {
    local output
    if [[ ${1:-} == closed ]]; then mark_start_closed || return; else unmark_start_closed || return; fi
    image_id "$CURRENT" >/dev/null || { WHY='no release is activated; see voicectl releases'; return 1; }
    ensure_tls || return
    # A rootless engine maps the user of the image, so the operator makes that folder.
    ((EUID)) || ensure_access || { WHY="cannot create $ETC/access"; return 1; }
    [[ ! $INSTANCE ]] || write_instance || return
    warn_of_short_stop
    if [[ $BACKEND == systemd ]]; then
        systemctl reset-failed "$UNIT" 2>/dev/null || true
        output=$(systemctl start --no-block "$UNIT" 2>&1) || { WHY="systemctl start $UNIT: $output"; return 1; }
        return
    fi
    can_run || return
    keep_last_container
    make_run_line
    output=$("$ENGINE" "${RUN[@]}" 2>&1) || { WHY="$ENGINE run: $output"; return 1; }
}
# Token and ports differ between hosts and have no default. Fails, and sets WHY, if one is missing.
can_run() {
    if [[ ! -s $ETC/token && ! -s $ETC/access/tokens ]]; then
        WHY="$ETC/token is missing: callers need one; see voicectl preflight, or voicectl token create"
    elif ! grep -qE '^--(publish|net)' <<<"$(host_flags)"; then
        WHY="$ETC/host.flags publishes no port, so callers could not connect: copy units/host.flags from the release folder"
    else
        return 0
    fi
    return 1
}
# Keep the last container for its log; the next start removes it.
keep_last_container() {
    "$ENGINE" container inspect "$NAME" >/dev/null 2>&1 || return 0
    "$ENGINE" rm --force "$LAST" >/dev/null 2>&1 || true
    "$ENGINE" rename "$NAME" "$LAST" >/dev/null
}
stop_appliance() {
    local output
    inspect
    if [[ $BACKEND == systemd ]]; then
        output=$(systemctl stop "$UNIT" 2>&1) || { WHY="systemctl stop $UNIT: $output"; return 1; }
    elif [[ $STATE != absent ]]; then
        # Stop an exited container, too: the engine may be about to restart it.
        output=$("$ENGINE" stop "$NAME" 2>&1) || [[ $STATE != active ]] || { WHY="$ENGINE stop: $output"; return 1; }
    fi
}

# --- wait_ready: wait until calls are accepted. Sets READY_START (START of the container that is ready) and READY_AT.
#     Fails, and sets WHY, if the container exited (even if it was restarted since), after READY_SECONDS, or if
#     INTERRUPTED is set.
wait_ready() {
    local began=$SECONDS exited=0 waiting='' answer
    while ((SECONDS - began < READY_SECONDS)); do
        [[ ! ${INTERRUPTED:-} ]] || { WHY=interrupted; return 1; }
        inspect
        [[ $STATE != active ]] || count_unit_restarts
        if [[ $STATE == active && $RESTARTS == 0 ]]; then
            if answer=$(in_container health </dev/null 2>/dev/null); then
                progress ''
                READY_START=$START READY_AT=$(date +%s)
                info "ready after $((SECONDS - began)) s"
                return 0
            fi
            exited=0 waiting=${answer:-waiting for a response}
            progress "$waiting  $((SECONDS - began)) s"
        elif [[ $STATE != activating && $STATE != deactivating ]] && ((++exited > 1 || RESTARTS)); then
            progress ''
            WHY=$(describe_exit)
            return 1
        fi
        sleep 1
    done
    progress ''
    WHY="not ready in $READY_SECONDS s${waiting:+: $waiting}"
    return 1
}
# The engine does not count the restarts by a unit, which makes a new container each time.
count_unit_restarts() {
    local number
    [[ $BACKEND == systemd ]] || return 0
    number=$(systemctl show --property=NRestarts "$UNIT" 2>/dev/null | sed -n 's/^NRestarts=//p') || number=0
    if is_number "$number"; then RESTARTS=$number; fi
}
# --- still_runs: whether the container that wait_ready saw runs without an interruption. Fails, and sets WHY.
still_runs() {
    inspect
    [[ $STATE != active || $START != "$READY_START" ]] || return 0
    # What a restarted container says of its exit code is not about the run that ended. Its log is.
    if [[ $START != "$READY_START" ]]; then RESTARTS=1; fi
    # shellcheck disable=SC2034  # voicectl-logs.sh reads it
    BEGAN=$READY_AT
    WHY=$(describe_exit)
    return 1
}
progress() { if is_terminal; then printf '\r%s\e[K' "${1:0:79}"; fi; }
