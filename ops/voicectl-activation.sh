# shellcheck shell=bash
# voicectl: from one release to another, and back when it comes to nothing. Every step is written to
# activations.log, and is on the disk, before it is taken; an activation whose last line is not a
# last word was cut off, and the next voicectl goes back. Sourced by voicectl.
# shellcheck disable=SC2153  # look and find_release set what is upper case

readonly LOG=$RECORDS/activations.log
readonly WENT_BACK=10 STUCK=11

verb_activate() {
    local wanted='' force=0 refusal=''
    DRAIN_SECONDS=60
    while (($#)); do
        case $1 in
            --force) force=1 ;;
            --drain) DRAIN_SECONDS=${2:?--drain needs seconds} && shift ;;
            -*) fatal "unknown option $1; see voicectl activate --help" ;;
            *) wanted=$1 ;;
        esac
        shift
    done
    [[ $DRAIN_SECONDS =~ ^[0-9]+$ ]] || fatal "--drain takes seconds, not $DRAIN_SECONDS"
    [[ $wanted ]] || fatal 'activate what? voicectl releases lists what is imported'
    take_turn
    finish_unfinished
    find_release "$wanted"
    remember_now
    if [[ $NEW == "$OLD" ]]; then
        info "$(release_of "$NEW") is current already: nothing to do"
        return
    fi
    if [[ $OLD != none ]]; then refusal=$(step_refused "$(about "$OLD")" "$(about "$NEW")"); fi
    allow "$force" "$refusal"
    [[ -x $(smoke_test) ]] || fatal "$(smoke_test) is missing: nothing can be activated without it"
    check_host || allow "$force" 'this host is not ready for it, see above'
    [[ $BACKEND == systemd ]] || may_run || allow "$force" "$WHY"
    change activate
}
allow() {
    [[ $2 ]] || return 0
    (($1)) || fatal "$(release_of "$NEW") is refused: $2. Nothing was touched."
    warn "$2; going on by --force"
}
verb_rollback() {
    (($# == 0)) || fatal "unknown option $1; see voicectl rollback --help"
    take_turn
    finish_unfinished
    NEW=$(id_of "$PREVIOUS") || fatal 'there is no previous release'
    DRAIN_SECONDS=0
    remember_now
    change rollback
}

# --- the host as preflight sees it, without what the release that runs here holds
check_host() {
    local checks=engine,store,clock,certificate,key,token,driver,capability,memory,injection
    preflight --only="$checks" "$(profile_of "$NEW")" | without_passed
}
# Checks that passed go, with the lines on which they go on.
without_passed() { sed -n '/^[^ ]/h;x;/^pass /!{x;p;x};x'; }
# preflight OPTION PROFILE: of a host that has the release already
preflight() {
    local options=("${1%%=*}")
    [[ $1 != *=* ]] || options+=("${1#*=}")
    secret_files
    "$HERE/preflight" --upgrade --engine "$ENGINE" --profile "$2" "${options[@]}" "${SECRET_FILES[@]}" "$RECORDS"
}

# --- what there is to go back to: sets OLD, OLDER (image ids or none) and RAN
remember_now() {
    look
    OLD=$(id_of "$CURRENT") || OLD=none
    OLDER=$(id_of "$PREVIOUS") || OLDER=none
    RAN=no
    if [[ $STATE == active || $STATE == activating ]]; then RAN=yes; fi
}

# --- one voicectl changes releases at a time; its children do not get the lock, so it ends with it
take_turn() {
    if ! { mkdir -p "$RECORDS" && exec 9>>"$RECORDS/.turn"; } 2>/dev/null; then
        fatal "$RECORDS cannot be written: run this as root"
    fi
    flock --nonblock 9 || fatal 'another voicectl is changing the release'
    HAS_TURN=1
}

# --- the record
note() {
    # A line that a power cut tore must not swallow this one.
    if [[ -s $LOG && $(tail -c 1 "$LOG") ]]; then echo >>"$LOG"; fi
    printf '%s  %s  %s\n' "$(date -u +%FT%TZ)" "$TURN" "${*//$'\n'/ }" >>"$LOG" && sync "$LOG" "$RECORDS"
}
# Sets UNFINISHED (the last step noted), and what that activation remembered; fails when there is none.
read_unfinished() {
    local last word begun
    [[ -s $LOG ]] || return 1
    last=$(grep -E '^[^ ]+  [0-9a-f]+  [a-z-]+' "$LOG" | tail -n 1) || return 1
    read -r _ TURN word _ <<<"$last"
    [[ ! $word =~ ^(done|returned|stuck)$ ]] || return 1
    begun=$(grep -F "  $TURN  begin " "$LOG" | tail -n 1)
    [[ $begun =~ \ begin\ ([a-z]+)\ ([^ ]+)\ new=([^ ]+)\ current=([^ ]+)\ previous=([^ ]+)\ ran=([a-z]+)\ \.$ ]] || return 1
    UNFINISHED=$word ACTION=${BASH_REMATCH[1]} RELEASE=${BASH_REMATCH[2]} NEW=${BASH_REMATCH[3]}
    OLD=${BASH_REMATCH[4]} OLDER=${BASH_REMATCH[5]} RAN=${BASH_REMATCH[6]}
}
# Goes back from an activation that was cut off. What is going on at this moment is left alone.
finish_unfinished() {
    local TURN UNFINISHED ACTION RELEASE NEW OLD OLDER RAN
    read_unfinished || return 0
    if [[ ! ${HAS_TURN:-} ]]; then
        if ! { exec 9>>"$RECORDS/.turn"; } 2>/dev/null; then
            warn "the change to $RELEASE is at: $UNFINISHED. If it was cut off there, voicectl as root goes back."
            return
        fi
        flock --nonblock 9 || { exec 9>&-; return 0; }
    fi
    if read_unfinished; then
        warn "the change to $RELEASE was cut off at: $UNFINISHED. Going back."
        go_back 'cut off' 9>&- >&2 || true
    fi
    [[ ${HAS_TURN:-} ]] || exec 9>&-
}

# --- change ACTION: from OLD to NEW
change() {
    local code=0
    # A terminal that has gone away fails what is said to it, and that must not end this half way.
    set +e
    trap '' PIPE
    ACTION=$1 TURN=$(printf '%04x%04x' "$RANDOM" "$RANDOM") WHY='' RELEASE=$(release_of "$NEW")
    trap 'INTERRUPTED=1; kill "${CHILD:-}" 2>/dev/null || true' INT TERM HUP
    note "begin $ACTION $RELEASE new=$NEW current=$OLD previous=$OLDER ran=$RAN ." || fatal "$LOG cannot be written. Nothing was touched."
    if advance 9>&-; then
        info "$(colour '32;1' '●') $RELEASE is current$([[ $OLD == none ]] || echo ", $(release_of "$OLD") previous")"
        return 0
    fi
    warn "$RELEASE failed: $WHY. Going back."
    go_back "$WHY" 9>&- || code=$?
    exit "$code"
}
advance() {
    if [[ $RAN == yes ]]; then take drain "$(release_of "$OLD") takes no more calls" drain_it || return; fi
    take stop 'stop what runs' stop_it || return
    take tags "make $RELEASE current" move_tags "$NEW" "$OLD" || return
    take start "start $RELEASE" start_it || return
    take ready 'wait until it takes calls' wait_ready || return
    if [[ $ACTION == activate ]]; then take smoke-test 'smoke test' pass_smoke_test || return; fi
    note "done $ACTION $RELEASE current=$NEW previous=$OLD" || { WHY="$LOG cannot be written"; return 1; }
}
# take WORD TITLE FUNCTION...: noted, said, done
take() {
    local word=$1
    [[ ! ${INTERRUPTED:-} ]] || { WHY=interrupted; return 1; }
    note "$word" || { WHY="$LOG cannot be written"; return 1; }
    info "--- $2"
    shift 2
    "$@" || { [[ ! ${INTERRUPTED:-} ]] || WHY=interrupted; return 1; }
}
drain_it() {
    ((DRAIN_SECONDS)) || return 0
    inside drain --wait "$DRAIN_SECONDS" </dev/null || warn "not all calls have ended in $DRAIN_SECONDS s; they end now"
}
pass_smoke_test() {
    local code=0
    # In the background, so that an interruption need not wait for it.
    "$(smoke_test)" --engine "$ENGINE" </dev/null &
    CHILD=$!
    wait "$CHILD" || code=$?
    CHILD=''
    ((code == 0)) || { WHY="the smoke test ended with exit code $code"; return 1; }
}

# --- tags: an id, or none to take a tag away. The images stay.
move_tags() {
    local tag=''
    IFS='|' read -r _ _ tag < <(about "$NEW") || true
    if [[ ! $tag ]]; then "$ENGINE" tag "$NEW" "$REPOSITORY:$(release_of "$NEW")"; fi
    WHY="$ENGINE cannot move the tags"
    set_tag "$PREVIOUS" "$2" && set_tag "$CURRENT" "$1"
}
set_tag() {
    if [[ $2 != none ]]; then
        "$ENGINE" tag "$2" "$1"
    elif id_of "$1" >/dev/null; then
        # Docker knows no untag. This takes the name alone, as the image has the one of its import, too.
        if [[ $ENGINE == podman ]]; then podman untag "$1" "$1"; else docker rmi --no-prune "$1" >/dev/null; fi
    fi
}

# --- go_back WHY: as it was before, whatever step it came to; may be done twice
go_back() {
    trap '' INT TERM HUP
    INTERRUPTED=''
    note "back $1"
    stop_it || warn "$WHY"
    move_tags "$OLD" "$OLDER" || warn "$WHY"
    if [[ $OLD == none ]]; then
        note "returned current=none previous=$OLDER"
        warn 'No release was activated before, and none is now.'
        return "$WENT_BACK"
    elif [[ $RAN == no ]]; then
        note "returned current=$OLD previous=$OLDER"
        warn "$(release_of "$OLD") is current again. It did not run before, and does not now."
        return "$WENT_BACK"
    elif start_it && wait_ready; then
        note "returned current=$OLD previous=$OLDER"
        warn "$(release_of "$OLD") is current again, and takes calls."
        return "$WENT_BACK"
    fi
    note "stuck $WHY"
    warn "$(release_of "$OLD") IS CURRENT AGAIN, AND DOES NOT SERVE EITHER: $WHY"
    return "$STUCK"
}
