# shellcheck shell=bash
# voicectl: proves that nothing leaves the appliance. A watcher, a container of the same image, owns an empty
# network namespace in which every address leads to its loopback device, so that an attempt to reach another
# machine is a packet that it records. The appliance joins that namespace with its production flags. Both
# containers are removed at the end, also after an interruption. Sourced by voicectl.
# shellcheck disable=SC2034,SC2153,SC2154  # other parts set and use what is in upper case

source "$HERE/signing.sh"

readonly NAMESERVER=192.0.2.53 # as in appliance/egress_proof/probes.py; for documentation only (RFC 5737)
# A proof does not judge speed.
readonly ANY_SPEED=(--limit=voice_to_voice_p50=600 --limit=voice_to_voice_p95=600 --limit=interruption_p95=600
    --limit=recovery=600)
# Flags of this site that do not apply: the watcher owns the network, and the proof the container's life.
readonly OWN_FLAGS='publish|publish-all|net|network|network-alias|dns|dns-[a-z]+|add-host|no-hosts|hostname|ip|ip6|mac-address'\
'|expose|link|sysctl|name|restart|rm|detach|log-driver|log-opt'

command_prove_offline() {
    local out=$RECORDS/reports key=$ETC/site_key json=0 wanted='' verdict=0
    while (($#)); do
        case $1 in
            --out) out=${2:?--out needs a folder} && shift ;;
            --key) key=${2:?--key needs a file} && shift ;;
            --json) json=1 ;;
            -*) fatal "unknown option $1; see voicectl prove-offline --help" ;;
            *) wanted=$1 ;;
        esac
        shift
    done
    exec 3>&1
    ((!json)) || exec 1>&2
    inspect
    # systemd may be about to start a failed container again.
    [[ $BACKEND != systemd || $RESTARTS == 0 ]] || STATE=activating
    [[ $STATE == inactive || $STATE == absent || $STATE == failed ]] ||
        fatal "$NAME is running, and the proof needs its memory and its GPU: stop it first (voicectl stop)"
    if [[ $wanted ]]; then
        find_release "$wanted"
    else
        NEW=$(image_id "$CURRENT") || fatal 'no release is activated: name one; see voicectl releases'
    fi
    [[ -s $ETC/token ]] || fatal "$ETC/token is missing: calls need one; see voicectl preflight"
    mkdir -p "$out" 2>/dev/null && [[ -w $out ]] || fatal "the folder $out is not writable (--out)"
    prepare_proof
    start_watcher || fatal "$WHY"
    run_phases
    finish_watcher
    make_statement || verdict=$?
    sign_statement "$out" "$key" "$verdict"
    ((!json)) || cat "$STATEMENT.json" >&3
    ((verdict == 0))
}

# --- prepare_proof: set RUN_ID, the names of the containers, WORK; arrange that nothing stays
prepare_proof() {
    RUN_ID=$(printf '%04x%04x' "$RANDOM" "$RANDOM")
    WATCHER=$NAME-watcher-$RUN_ID SEALED=$NAME-proof-$RUN_ID CHILD=''
    WORK=$(mktemp -d)
    trap end_proof EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    chmod 755 "$WORK"
    printf 'nameserver %s\n' "$NAMESERVER" >"$WORK/resolv.conf"
    chmod 644 "$WORK/resolv.conf"
    choose_flags
    {
        printf '{"kind": "about", "run_id": "%s", "host": %s' "$RUN_ID" "$(json_string "$(uname -n)")"
        printf ', "kernel": %s' "$(json_string "$(uname -sr)")"
        printf ', "engine": %s' "$(json_string "$ENGINE $("$ENGINE" version --format '{{.Client.Version}}')")"
        printf ', "image_id": "%s", "release": %s' "$NEW" "$(json_string "$(release_of "$NEW")")"
        printf ', "flags_left_out": %s}\n' "$(json_string "${LEFT_OUT[*]}")"
    } >"$WORK/records"
}
end_proof() {
    trap '' INT TERM HUP
    [[ ! $CHILD ]] || kill "$CHILD" 2>/dev/null || true
    # The appliance first: podman keeps a container whose network another one uses.
    "$ENGINE" kill "$SEALED" "$WATCHER" >/dev/null 2>&1 || true
    "$ENGINE" rm --force "$SEALED" >/dev/null 2>&1 || true
    "$ENGINE" rm --force "$WATCHER" >/dev/null 2>&1 || true
    rm -rf "$WORK"
}

# --- choose_flags: set FLAGS, those of production, and LEFT_OUT, those of OWN_FLAGS. Without host.flags, as under
#     systemd, take those of the release.
choose_flags() {
    local file flag profile
    profile=$(profile_of "$NEW")
    for file in "$ETC/host.flags" "$HERE/units/host.flags" "$HERE/units/$profile/host.flags"; do
        [[ ! -f $file ]] || break
    done
    FLAGS=() LEFT_OUT=()
    while IFS= read -r flag; do
        if [[ $flag =~ ^--($OWN_FLAGS)(=|\ |$) ]]; then
            LEFT_OUT+=("$flag")
        else
            FLAGS+=("$flag")
        fi
    done < <(grep -hs '^--' "$HERE/container.flags" "$file")
}

# --- attached COMMAND...: run it so that a signal ends this script at once, and not only after the command
attached() {
    local code=0
    "$@" </dev/null &
    CHILD=$!
    wait "$CHILD" || code=$?
    CHILD=''
    return "$code"
}
is_running() { [[ $("$ENGINE" container inspect --format '{{.State.Running}}' "$1" 2>/dev/null) == true ]]; }
# in_proof COMMAND...: run `python -m appliance COMMAND...` in the container of the appliance.
in_proof() { "$ENGINE" exec "$SEALED" python -m appliance "$@"; }

# --- start_watcher: set WHY on failure. Root without any capability but these two; engines differ in whether
#     another user gets them.
start_watcher() {
    local sysctl=() output began=$SECONDS
    # Containers often have IPv6 turned off, and then an attempt over it cannot be seen.
    [[ ! -d /proc/sys/net/ipv6 ]] || sysctl=(--sysctl=net.ipv6.conf.all.disable_ipv6=0)
    info '--- start the watcher'
    output=$("$ENGINE" run --detach --name "$WATCHER" --pull=never --network=none "${sysctl[@]}" \
        --user=0:0 --cap-drop=all --cap-add=NET_ADMIN --cap-add=NET_RAW --security-opt=no-new-privileges --read-only \
        --log-driver=json-file --volume="$WORK/resolv.conf:/etc/resolv.conf:ro,z" \
        --entrypoint python "$NEW" -m appliance watch-egress "$RUN_ID" 2>&1 3>&-) || { WHY="$ENGINE run: $output"; return 1; }
    until "$ENGINE" logs "$WATCHER" 2>/dev/null | grep -q '"kind": "watching"'; do
        if ! is_running "$WATCHER" || ((SECONDS - began > 120)); then
            WHY="the watcher does not watch: $("$ENGINE" logs "$WATCHER" 2>&1 | tail -n 3)"
            return 1
        fi
        attached sleep 0.5
    done
}
finish_watcher() {
    "$ENGINE" stop -t 60 "$WATCHER" >/dev/null 2>&1 || true
    "$ENGINE" logs "$WATCHER" 2>/dev/null >>"$WORK/records" || true
}

# --- run_phases: each is a record, whether it succeeds or not. Without a start there is nothing more to run.
#     The names are those of appliance/egress_proof/statement.py.
run_phases() {
    if run_phase boot boot_appliance; then
        run_phase calls call_appliance --turns=2 --interruptions=1 --skip=container,overload,metrics,recovery || true
        run_phase failure call_appliance --kill --skip=seal,container,conversation,interruption,overload,metrics || true
        run_phase 'calls after the failure' call_appliance --turns=1 --skip=seal,container,interruption,overload,metrics,recovery || true
        run_phase self-test send_probes || true
    else
        "$ENGINE" logs --tail 5 "$SEALED" >&2 || true
    fi
    run_phase stop stop_proof || true
}
# run_phase NAME FUNCTION...: the function sets FOUND, which says what happened.
run_phase() {
    local phase=$1 began ok=true
    shift
    info "--- $phase"
    FOUND='' began=$(date +%s.%N)
    "$@" || ok=false
    printf '{"kind": "phase", "name": "%s", "began": %s, "ended": %s, "ok": %s, "found": %s}\n' "$phase" "$began" \
        "$(date +%s.%N)" "$ok" "$(json_string "$FOUND")" >>"$WORK/records"
    info "    $FOUND"
    [[ $ok == true ]]
}
boot_appliance() {
    local output began=$SECONDS
    ensure_tls "$NEW" >/dev/null || { FOUND=$WHY; return 1; }
    site_flags
    output=$("$ENGINE" run --detach --name "$SEALED" --pull=never --network="container:$WATCHER" --log-driver=json-file \
        --volume="$WORK/resolv.conf:/etc/resolv.conf:ro,z" "${SITE_FLAGS[@]}" "${FLAGS[@]}" "$NEW" 2>&1 3>&-) ||
        { FOUND="$ENGINE run: $output"; return 1; }
    until attached in_proof health >/dev/null 2>&1; do
        is_running "$SEALED" || { FOUND='the appliance stopped'; return 1; }
        ((SECONDS - began < READY_SECONDS)) || { FOUND="not ready in $READY_SECONDS s"; return 1; }
        attached sleep 1
    done
    FOUND="ready after $((SECONDS - began)) s"
}
# call_appliance OPTIONS...: the acceptance test, which calls over the loopback device. The statement quotes its
# checks and decides which of them matter; an answer that is wrong does not.
call_appliance() {
    local code=0 report=$WORK/report
    attached in_proof smoke-test --json --quick-seal --host="$(uname -n)" --container="$SEALED" --image-id="$NEW" \
        "${ANY_SPEED[@]}" "$@" >"$report" || code=$?
    if [[ ! -s $report ]]; then
        FOUND="the acceptance test could not run (exit code $code)"
        return 1
    fi
    printf '{"kind": "report", "phase": "%s", "report": %s}\n' "$phase" "$(cat "$report")" >>"$WORK/records"
    FOUND="the acceptance test ran, exit code $code"
}
send_probes() {
    FOUND='packets were sent on purpose'
    attached in_proof egress-probe "$RUN_ID" appliance || { FOUND='the probes could not be sent'; return 1; }
}
stop_proof() {
    local code
    attached "$ENGINE" stop "$SEALED" >/dev/null 2>&1 || true
    code=$("$ENGINE" container inspect --format '{{.State.ExitCode}}' "$SEALED" 2>/dev/null) || code=unknown
    FOUND="stopped with exit code $code"
    [[ $code == 0 ]]
}

# --- make_statement: write statement.json and statement.txt to WORK; fails unless nothing left
make_statement() {
    local code=0
    IMAGE=$NEW # of the new container
    in_new_container egress-statement <"$WORK/records" >"$WORK/statement.json" || code=$?
    [[ -s $WORK/statement.json ]] || fatal "the statement could not be made (exit code $code)"
    in_new_container egress-statement --page <"$WORK/statement.json" >"$WORK/statement.txt" ||
        fatal 'the statement could not be printed'
    return "$code"
}
# --- sign_statement FOLDER KEY VERDICT: as smoke-test signs its reports; set STATEMENT
sign_statement() {
    local out=$1 key=$2 word=passed kind status=0 signer=voice-appliance-site namespace=voice-appliance-report
    (($3 == 0)) || word=failed
    STATEMENT=$out/offline-proof-$(date -u +%Y%m%dT%H%M%SZ)-$word
    ensure_key "$key" "$signer" || status=$?
    ((!status || status == MADE_KEY)) || fatal "the key $key cannot be created (--key)"
    ((!status)) || warn "created a key for this site, without a passphrase: $key"
    signer "$key" "$signer" "$namespace" >"$out/report_signers"
    for kind in json txt; do
        sign_file "$key" "$namespace" "$WORK/statement.$kind" || fatal "$key cannot sign"
        cp "$WORK/statement.$kind.sig" "$STATEMENT.$kind.sig"
        cp "$WORK/statement.$kind" "$STATEMENT.$kind"
        chmod 644 "$STATEMENT.$kind" "$STATEMENT.$kind.sig"
    done
    info ''
    cat "$STATEMENT.txt"
    info ''
    info "Statement: $STATEMENT.txt, and .json; signed with $key"
}
