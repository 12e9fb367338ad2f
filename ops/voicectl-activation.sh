# shellcheck shell=bash
# voicectl: switch from one release to another, and roll back if that fails. Each step is written to
# activations.log and synced to disk before it runs. An activation without a final entry was cut off, for
# example by a power failure; the next voicectl command then rolls back. Sourced by voicectl.
# shellcheck disable=SC2153  # inspect and find_release set what is in upper case

readonly LOG=$RECORDS/activations.log
readonly ROLLED_BACK=10 STUCK=11  # exit codes of voicectl
readonly BAD_SETTINGS=78 # exit code of the appliance

command_activate() {
    local wanted='' force=0 refusal=''
    DRAIN_SECONDS='' # as long as a call may last
    while (($#)); do
        case $1 in
            --force) force=1 ;;
            --drain) DRAIN_SECONDS=${2:?--drain needs seconds} && shift ;;
            -*) fatal "unknown option $1; see voicectl activate --help" ;;
            *) wanted=$1 ;;
        esac
        shift
    done
    [[ $DRAIN_SECONDS =~ ^[0-9]*$ ]] || fatal "--drain takes seconds, not $DRAIN_SECONDS"
    [[ $wanted ]] || fatal 'activate needs a version; voicectl releases lists the imported ones'
    lock_activation
    finish_unfinished
    find_release "$wanted"
    remember_current
    if [[ $NEW == "$OLD" ]]; then
        info "$(release_of "$NEW") is already current: nothing to do"
        return
    fi
    if [[ $OLD != none ]]; then refusal=$(check_upgrade_path "$(describe_image "$OLD")" "$(describe_image "$NEW")"); fi
    refuse_unless "$force" "$refusal"
    [[ -x $(smoke_test) ]] || fatal "$(smoke_test) is missing: no release can be activated without it"
    check_host || refuse_unless "$force" 'this host is not ready for it, see above'
    check_settings
    [[ $BACKEND == systemd ]] || can_run || refuse_unless "$force" "$WHY"
    change activate
}
refuse_unless() {
    [[ $2 ]] || return 0
    (($1)) || refuse "$2"
    warn "$2; continuing because of --force"
}
refuse() { fatal "$(release_of "$NEW") is refused: $1. Nothing was changed."; }
command_rollback() {
    (($# == 0)) || fatal "unknown option $1; see voicectl rollback --help"
    lock_activation
    finish_unfinished
    NEW=$(image_id "$PREVIOUS") || fatal 'there is no previous release'
    DRAIN_SECONDS=0
    remember_current
    change rollback
}

# --- check_host: preflight, without the checks of resources that the running release uses
check_host() {
    local checks=engine,store,clock,certificate,key,token,driver,capability,memory,injection
    preflight --only="$checks" "$(profile_of "$NEW")" | without_passed
}
# Remove the checks that passed, with their continuation lines.
without_passed() { sed -n '/^[^ ]/h;x;/^pass /!{x;p;x};x'; }
# preflight OPTION PROFILE: check this host, on which the release is already imported.
preflight() {
    local options=("${1%%=*}")
    [[ $1 != *=* ]] || options+=("${1#*=}")
    find_secrets
    instance_checks
    "$HERE/preflight" --upgrade --engine "$ENGINE" --profile "$2" "${options[@]}" "${INSTANCE_OPTIONS[@]}" "${SECRET_OPTIONS[@]}" "$RECORDS"
}
# --- check_settings: let the new image check this host's settings. --force does not override this check,
#     because the release would refuse to start.
check_settings() {
    local code=0 answer
    # shellcheck disable=SC2030,SC2034  # the image of the new container
    answer=$(IMAGE=$NEW && in_new_container_here settings --check </dev/null 2>&1 9>&-) || code=$?
    case $code in
        0) ;;
        "$BAD_SETTINGS")
            printf '%s\n' "$answer" >&2
            refuse 'settings are wrong, see above'
            ;;
        *) warn "the settings could not be checked (exit code $code): ${answer##*$'\n'}" ;;
    esac
}

# --- remember_current: set what a rollback restores: OLD and OLDER (image ids or none), and RAN (whether the
#     appliance was running: yes, no, or closed, if it was running but closed to callers)
remember_current() {
    inspect
    OLD=$(image_id "$CURRENT") || OLD=none
    OLDER=$(image_id "$PREVIOUS") || OLDER=none
    RAN=no
    if [[ $STATE == active || $STATE == activating ]]; then RAN=yes; fi
    if [[ $STATE == active ]] && is_closed; then RAN=closed; fi
}

# --- lock_activation: let only one voicectl at a time change releases. Child processes do not inherit the
#     lock, so it is released when this process exits.
lock_activation() {
    if ! { mkdir -p "$RECORDS" && exec 9>>"$RECORDS/.lock"; } 2>/dev/null; then
        fatal "cannot write to $RECORDS: run this as root"
    fi
    flock --nonblock 9 || fatal 'another voicectl is changing the release'
    LOCKED=1
}

# --- the log of activations
log_step() {
    # A line torn by a power failure must not swallow this one.
    if [[ -s $LOG && $(tail -c 1 "$LOG") ]]; then echo >>"$LOG"; fi
    printf '%s  %s  %s\n' "$(date -u +%FT%TZ)" "$CHANGE" "${*//$'\n'/ }" >>"$LOG" && sync "$LOG" "$RECORDS"
}
# Set UNFINISHED (the last step) and the variables that the unfinished activation recorded. Fails if the
# last activation has finished.
read_unfinished() {
    local last word begin
    [[ -s $LOG ]] || return 1
    last=$(grep -E '^[^ ]+  [0-9a-f]+  [a-z-]+' "$LOG" | tail -n 1) || return 1
    read -r _ CHANGE word _ <<<"$last"
    [[ ! $word =~ ^(done|returned|stuck)$ ]] || return 1
    begin=$(grep -F "  $CHANGE  begin " "$LOG" | tail -n 1)
    [[ $begin =~ \ begin\ ([a-z]+)\ ([^ ]+)\ new=([^ ]+)\ current=([^ ]+)\ previous=([^ ]+)\ ran=([a-z]+)\ \.$ ]] || return 1
    UNFINISHED=$word ACTION=${BASH_REMATCH[1]} RELEASE=${BASH_REMATCH[2]} NEW=${BASH_REMATCH[3]}
    OLD=${BASH_REMATCH[4]} OLDER=${BASH_REMATCH[5]} RAN=${BASH_REMATCH[6]}
}
# Roll back an activation that was cut off. Leaves one that is still running alone.
finish_unfinished() {
    local CHANGE UNFINISHED ACTION RELEASE NEW OLD OLDER RAN
    read_unfinished || return 0
    if [[ ! ${LOCKED:-} ]]; then
        if ! { exec 9>>"$RECORDS/.lock"; } 2>/dev/null; then
            warn "the change to $RELEASE is at step $UNFINISHED. If it was cut off there, run voicectl as root to roll back."
            return
        fi
        flock --nonblock 9 || { exec 9>&-; return 0; }
    fi
    if read_unfinished; then
        warn "the change to $RELEASE was cut off at step $UNFINISHED. Rolling back."
        roll_back 'cut off' 9>&- >&2 || true
    fi
    [[ ${LOCKED:-} ]] || exec 9>&-
}

# --- change ACTION: from OLD to NEW
change() {
    local code=0
    # Output to a closed terminal fails; that must not stop the change half way.
    set +e
    trap '' PIPE
    ACTION=$1 CHANGE=$(printf '%04x%04x' "$RANDOM" "$RANDOM") WHY='' RELEASE=$(release_of "$NEW")
    trap 'INTERRUPTED=1; kill "${CHILD:-}" 2>/dev/null || true' INT TERM HUP
    log_step "begin $ACTION $RELEASE new=$NEW current=$OLD previous=$OLDER ran=$RAN ." || fatal "cannot write to $LOG. Nothing was changed."
    if run_steps 9>&-; then
        info "$(colour '32;1' '●') $RELEASE is current$([[ $OLD == none ]] || echo ", $(release_of "$OLD") previous")"
        return 0
    fi
    warn "$RELEASE failed: $WHY. Rolling back."
    roll_back "$WHY" 9>&- || code=$?
    exit "$code"
}
run_steps() {
    if [[ $RAN != no ]]; then run_step drain "drain $(release_of "$OLD")" drain_calls || return; fi
    run_step stop 'stop the running release' stop_appliance || return
    run_step tags "make $RELEASE current" move_tags "$NEW" "$OLD" || return
    if [[ $ACTION == activate || $RAN == closed ]]; then
        run_step start "start $RELEASE, closed to callers" start_appliance closed || return
        run_step close 'see that it is closed' ensure_closed || return
    else
        run_step start "start $RELEASE" start_appliance || return
    fi
    run_step ready 'wait until it is ready' wait_ready || return
    if [[ $ACTION == activate ]]; then run_step smoke-test 'smoke test' run_smoke_test || return; fi
    let_callers_in || return
    log_step "done $ACTION $RELEASE current=$NEW previous=$OLD" || { WHY="cannot write to $LOG"; return 1; }
}
# run_step WORD TITLE FUNCTION...: log the step, print its title, run it.
run_step() {
    local word=$1
    STEP=$word
    [[ ! ${INTERRUPTED:-} ]] || { WHY=interrupted; return 1; }
    log_step "$word" || { WHY="cannot write to $LOG"; return 1; }
    info "--- $2"
    shift 2
    "$@" || { [[ ! ${INTERRUPTED:-} ]] || WHY=interrupted; return 1; }
}
drain_calls() {
    local code=0
    [[ $DRAIN_SECONDS != 0 ]] || return 0
    # In the background, so that a signal is handled at once. The drain goes on in the container.
    in_container drain --wait ${DRAIN_SECONDS:+"$DRAIN_SECONDS"} </dev/null &
    CHILD=$!
    wait "$CHILD" || code=$?
    CHILD=''
    [[ ! ${INTERRUPTED:-} ]] || return 1
    ((code == 0)) || warn 'some calls are still in progress; they are cut off now'
}
# Open the new release, unless the old one was closed. Logged before it is done.
let_callers_in() {
    if [[ $RAN == closed ]]; then
        info "$RELEASE stays closed, as the old release was: voicectl open" || true
        unmark_start_closed
    elif is_closed; then
        run_step open 'accept calls' open_appliance
    else
        unmark_start_closed
    fi
}
run_smoke_test() {
    local code=0
    # In the background, so that a signal is handled at once.
    "$(smoke_test)" --engine "$ENGINE" --container "$NAME" --out "$RECORDS/reports" </dev/null &
    CHILD=$!
    wait "$CHILD" || code=$?
    CHILD=''
    # A release that ended and was restarted may pass. What ended it says more than the test that it failed.
    still_runs || { WHY="$WHY, during its smoke test"; return 1; }
    ((code == 0)) || { WHY="the smoke test exited with code $code"; return 1; }
}

# --- move_tags CURRENT PREVIOUS: image ids, or none to remove a tag. The images stay.
move_tags() {
    local tag=''
    IFS='|' read -r _ _ tag < <(describe_image "$NEW") || true
    if [[ ! $tag ]]; then "$ENGINE" tag "$NEW" "$REPOSITORY:$(release_of "$NEW")"; fi
    WHY="$ENGINE cannot move the tags"
    set_tag "$PREVIOUS" "$2" && set_tag "$CURRENT" "$1"
}
set_tag() {
    if [[ $2 != none ]]; then
        "$ENGINE" tag "$2" "$1"
    elif image_id "$1" >/dev/null; then
        # Docker has no untag. This removes only the tag, because the image still has the tag from its import.
        if [[ $ENGINE == podman ]]; then podman untag "$1" "$1"; else docker rmi --no-prune "$1" >/dev/null; fi
    fi
}

# Start the old release, and leave it closed or open, as it was. Fails, and sets WHY.
start_old() {
    if [[ $RAN == closed ]]; then
        start_appliance closed && ensure_closed && wait_ready && unmark_start_closed
    else
        start_appliance && wait_ready && { ! is_closed || open_appliance; }
    fi
}

# --- has_only_drained: whether the change has not gone further than the drain, and the old release still runs
has_only_drained() {
    [[ ${STEP:-${UNFINISHED:-}} == drain ]] || return 1
    inspect
    # shellcheck disable=SC2031  # inspect has set IMAGE
    [[ $STATE == active && $IMAGE == "$OLD" && $(image_id "$CURRENT") == "$OLD" ]]
}

# --- roll_back WHY: restore the state before the change, whichever step it reached. Can be repeated.
roll_back() {
    trap '' INT TERM HUP
    INTERRUPTED=''
    log_step "back $1"
    if has_only_drained; then
        in_container drain --undo </dev/null || true
        log_step "returned current=$OLD previous=$OLDER"
        warn "$(release_of "$OLD") goes on: it was only draining, and no call was cut off."
        return "$ROLLED_BACK"
    fi
    stop_appliance || warn "$WHY"
    unmark_start_closed || warn "$WHY"
    move_tags "$OLD" "$OLDER" || warn "$WHY"
    if [[ $OLD == none ]]; then
        log_step "returned current=none previous=$OLDER"
        warn 'No release was active before, and none is now.'
        return "$ROLLED_BACK"
    elif [[ $RAN == no ]]; then
        log_step "returned current=$OLD previous=$OLDER"
        warn "$(release_of "$OLD") is current again. It was not running before, and it is not running now."
        return "$ROLLED_BACK"
    elif start_old; then
        log_step "returned current=$OLD previous=$OLDER"
        warn "$(release_of "$OLD") is current again, and $([[ $RAN == closed ]] && echo 'is closed, as before' || echo 'accepts calls')."
        return "$ROLLED_BACK"
    fi
    log_step "stuck $WHY"
    warn "$(release_of "$OLD") IS CURRENT AGAIN, BUT DOES NOT START EITHER: $WHY"
    return "$STUCK"
}
