# shellcheck shell=bash
# voicectl: what this host says. Which engine, which unit, which images and container there are.
# Looks only. Sourced by voicectl.
# shellcheck disable=SC2034,SC2154  # the other pieces use what is set here; lower case is voicectl's

readonly NAME=voice-appliance UNIT=voice-appliance.service REPOSITORY=localhost/voice-appliance
readonly CURRENT=$REPOSITORY:current PREVIOUS=$REPOSITORY:previous
readonly LAST=$NAME-last # the container that ran before, for its log
readonly ETC=${VOICE_ETC:-/etc/voice-appliance} RECORDS=${VOICE_STATE:-/var/lib/voice-appliance}
readonly UNITS=(gateway llm tts exporter)

# --- the engine that has our images, else the one there is; sets ENGINE and BACKEND
choose_engine() {
    local candidate images silent=''
    for candidate in ${engine:-podman docker}; do
        command -v "$candidate" >/dev/null || continue
        images=$("$candidate" images --quiet "$REPOSITORY" 2>/dev/null) || { silent=$candidate; continue; }
        ENGINE=${ENGINE:-$candidate}
        if [[ $images ]]; then ENGINE=$candidate && break; fi
    done
    if [[ ! ${ENGINE:-} ]]; then
        if [[ $silent ]]; then
            warn "$silent does not answer: try $silent info"
        else
            warn "${engine:-neither podman nor docker} is not on this host"
        fi
        exit 4
    fi
    BACKEND=engine
    if command -v systemctl >/dev/null && systemctl cat "$UNIT" >/dev/null 2>&1; then BACKEND=systemd; fi
}
runner() { if [[ $BACKEND == systemd ]]; then echo "$UNIT"; else echo "$ENGINE, without a unit"; fi; }

# --- look: sets STATE (active, activating, deactivating, failed, inactive, absent), and EXIT, SINCE (epoch
#     seconds or nothing), IMAGE, RESTARTS, MEMORY (bytes), PIDS, OOM as far as there is a container
look() {
    local found status started finished
    STATE=absent EXIT='' SINCE='' BEGAN='' IMAGE='' RESTARTS=0 MEMORY=0 PIDS=0 OOM=false
    if found=$("$ENGINE" container inspect --format '{{.State.Status}}|{{.State.ExitCode}}|{{.State.StartedAt}}|{{.State.FinishedAt}}|{{.State.OOMKilled}}|{{.Image}}|{{.RestartCount}}|{{.HostConfig.Memory}}|{{.HostConfig.PidsLimit}}' "$NAME" 2>/dev/null); then
        IFS='|' read -r status EXIT started finished OOM IMAGE RESTARTS MEMORY PIDS <<<"$found"
        IMAGE=sha256:${IMAGE#sha256:} SINCE=$(epoch "$finished")
        case $status in
            running | paused | stopping) STATE=active SINCE=$(epoch "$started") ;;
            restarting) STATE=activating ;;
            created | configured | initialized) STATE=inactive SINCE='' ;;
            *) if [[ $EXIT == 0 ]]; then STATE=inactive; else STATE=failed; fi ;;
        esac
    fi
    if [[ $BACKEND == systemd && $STATE != active ]]; then look_at_unit; fi
}
# A unit may have removed its container already; then it alone knows how it ended.
look_at_unit() {
    local line
    local -A unit=()
    while IFS= read -r line; do unit[${line%%=*}]=${line#*=}; done < <(
        systemctl show --property=ActiveState,SubState,Job,ExecMainStatus,ExecMainStartTimestamp,InactiveEnterTimestamp "$UNIT" 2>/dev/null
    )
    RESTARTS=0
    case ${unit[ActiveState]:-} in
        failed) STATE=failed EXIT=${unit[ExecMainStatus]:-} ;;
        activating)
            STATE=activating
            if [[ ${unit[SubState]:-} == auto-restart ]]; then STATE=failed EXIT=${unit[ExecMainStatus]:-} RESTARTS=1; fi
            ;;
        deactivating) STATE=deactivating ;;
        inactive) [[ $STATE == failed ]] || STATE=inactive ;;
    esac
    # It has been told to start, and waits for what comes before it.
    if [[ $STATE == inactive && ${unit[Job]:-0} != 0 ]]; then STATE=activating; fi
    # The journal holds earlier runs, too: what they said is no reason now.
    BEGAN=$(epoch "${unit[ExecMainStartTimestamp]:-}") SINCE=$(epoch "${unit[InactiveEnterTimestamp]:-}")
    if [[ $STATE == inactive && ! $SINCE ]] && ! id_of "$CURRENT" >/dev/null; then STATE=absent; fi
}
# Of Go's or systemd's way to write a time; nothing for none, which Go writes as the year 1.
epoch() {
    local text=$1
    text=$(sed -E 's/^[A-Z][a-z]{2} //; s/([+-][0-9]{4}) [A-Z+-][A-Z0-9+-]*$/\1/' <<<"$text")
    [[ $text && $text != 0001-* ]] || return 0
    date -d "$text" +%s 2>/dev/null || true
}

# --- where preflight finds what the container gets; sets SECRET_FILES. Inside, tls/ is /run/secrets/tls/.
secret_files() {
    local certificate key
    certificate=$(sed -n 's/^VOICE_GATEWAY_TLS_CERTIFICATE=//p' "$ETC/appliance.env" 2>/dev/null) || certificate=''
    key=$(sed -n 's/^VOICE_GATEWAY_TLS_KEY=//p' "$ETC/appliance.env" 2>/dev/null) || key=''
    certificate=${certificate:-tls.crt} key=${key:-tls.key}
    SECRET_FILES=(--token-file "$ETC/token" --tls-certificate "$ETC/tls/${certificate##*/}" --tls-key "$ETC/tls/${key##*/}")
}

# --- inside VERB..., apart VERB...: what knows the appliance is in the image. In the one that runs, or else in
#     one made for it, without a network.
inside() { "$ENGINE" exec -i "$NAME" python -m appliance "$@"; }
APART=() # further flags of the one that is made
apart() {
    "$ENGINE" run --rm -i --pull=never --network=none --log-driver=none --read-only --cap-drop=all --security-opt=no-new-privileges \
        "${APART[@]}" --entrypoint python "${IMAGE:-$CURRENT}" -m appliance "$@"
}

# --- images
id_of() { image_id "$1"; }
# What is known of an image, in one question: its labels, and its tag of import, VERSION-PROFILE. Without
# labels that tag tells. Prints VERSION|PROFILE|TAG; fails when there is no such image.
about() {
    local found version profile tags tag
    found=$("$ENGINE" image inspect --format '{{with .Config.Labels}}{{index . "org.opencontainers.image.version"}}|{{index . "voice.profile"}}{{else}}|{{end}}|{{range .RepoTags}}{{.}} {{end}}' "$1" 2>/dev/null) || return
    IFS='|' read -r version profile tags <<<"${found//<no value>/}"
    for tag in $tags; do
        if [[ $tag == "$REPOSITORY:"* && $tag != "$CURRENT" && $tag != "$PREVIOUS" ]]; then break; fi
        tag=''
    done
    tag=${tag:-} tag=${tag#"$REPOSITORY:"}
    version=${version:-${tag%-*}} profile=${profile:-${tag##*-}}
    printf '%s|%s|%s\n' "${version:-unknown}" "${profile:-unknown}" "$tag"
}
release_of() {
    local version profile
    IFS='|' read -r version profile _ < <(about "$1") && printf '%s-%s' "$version" "$profile"
}
profile_of() {
    local profile
    IFS='|' read -r _ profile _ < <(about "$1") && printf %s "$profile"
}
short() { printf %s "${1:0:19}"; }

# --- saying it
moment() { date -d "@$1" '+%a %F %T %Z'; }
ago() {
    local seconds=$(($(date +%s) - $1))
    if ((seconds < 120)); then echo "$seconds s ago"
    elif ((seconds < 7200)); then echo "$((seconds / 60)) min ago"
    elif ((seconds < 172800)); then echo "$((seconds / 3600)) h ago"
    else echo "$((seconds / 86400)) days ago"; fi
}
json_string() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"} text=${text//$'\n'/ }
    printf '"%s"' "${text//[$'\t\r\e']/ }"
}
# Asked once, as inside $(...) nothing is a terminal.
TERMINAL=no
if [[ -t 1 && ! ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then TERMINAL=yes; fi
is_terminal() { [[ $TERMINAL == yes ]]; }
colour_options() { if is_terminal; then printf '%s\n' --colour always; fi; }
colour() { if is_terminal; then printf '\e[%sm%s\e[0m' "$1" "$2"; else printf %s "$2"; fi; }
