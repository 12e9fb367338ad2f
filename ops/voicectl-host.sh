# shellcheck shell=bash
# voicectl: what this host says. Which engine, which unit, which images and container there are.
# Looks only. Sourced by voicectl.
# shellcheck disable=SC2034,SC2154  # the other pieces use what is set here; lower case is voicectl's

readonly NAME=voice-appliance UNIT=voice-appliance.service REPOSITORY=localhost/voice-appliance
readonly CURRENT=$REPOSITORY:current PREVIOUS=$REPOSITORY:previous
readonly LAST=$NAME-last # the container that ran before, for its log
readonly ETC=${VOICE_ETC:-/etc/voice-appliance} RECORDS=${VOICE_STATE:-/var/lib/voice-appliance}
readonly UNITS=(gateway ultravox kokoro exporter)

# --- the engine that has our images, else the one there is; sets ENGINE and BACKEND
choose_engine() {
    local candidate
    for candidate in ${engine:-podman docker}; do
        command -v "$candidate" >/dev/null || continue
        ENGINE=${ENGINE:-$candidate}
        if [[ $("$candidate" images --quiet "$REPOSITORY" 2>/dev/null) ]]; then
            ENGINE=$candidate
            break
        fi
    done
    [[ ${ENGINE:-} ]] || { warn "${engine:-neither podman nor docker} is not on this host"; exit 4; }
    "$ENGINE" info >/dev/null 2>&1 || { warn "$ENGINE does not answer: try $ENGINE info"; exit 4; }
    BACKEND=engine
    if command -v systemctl >/dev/null && systemctl cat "$UNIT" >/dev/null 2>&1; then BACKEND=systemd; fi
}
runner() { if [[ $BACKEND == systemd ]]; then echo "$UNIT"; else echo "$ENGINE, without a unit"; fi; }

# --- look: sets STATE (active, activating, failed, inactive, absent), and EXIT, SINCE (epoch seconds or
#     nothing), IMAGE, RESTARTS, MEMORY (bytes), PIDS, OOM as far as there is a container
look() {
    local found status started finished
    STATE=absent EXIT='' SINCE='' IMAGE='' RESTARTS=0 MEMORY=0 PIDS=0 OOM=false
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
        systemctl show --property=ActiveState,SubState,Result,ExecMainStatus,InactiveEnterTimestamp "$UNIT" 2>/dev/null
    )
    RESTARTS=0
    case ${unit[ActiveState]:-} in
        failed) STATE=failed EXIT=${unit[ExecMainStatus]:-} ;;
        activating)
            STATE=activating
            if [[ ${unit[SubState]:-} == auto-restart ]]; then STATE=failed EXIT=${unit[ExecMainStatus]:-} RESTARTS=1; fi
            ;;
        inactive) [[ $STATE == failed ]] || STATE=inactive ;;
    esac
    SINCE=$(epoch "${unit[InactiveEnterTimestamp]:-}")
    if [[ $STATE == inactive && ! $SINCE ]] && ! id_of "$CURRENT" >/dev/null; then STATE=absent; fi
}
# Of Go's or systemd's way to write a time; nothing for none, which Go writes as the year 1.
epoch() {
    local text=$1
    text=$(sed -E 's/^[A-Z][a-z]{2} //; s/([+-][0-9]{4}) [A-Z+-][A-Z0-9+-]*$/\1/' <<<"$text")
    [[ $text && $text != 0001-* ]] || return 0
    date -d "$text" +%s 2>/dev/null || true
}

# --- inside CONTAINER'S VERB...: what knows the appliance is in the image. In the one that runs, or else in
#     one made for it, without a network.
inside() { "$ENGINE" exec -i "$NAME" python -m appliance "$@"; }
apart() {
    "$ENGINE" run --rm -i --pull=never --network=none --read-only --cap-drop=all --security-opt=no-new-privileges \
        --entrypoint python "${IMAGE:-$CURRENT}" -m appliance "$@"
}

# --- images
id_of() { image_id "$1"; }
label_of() {
    local value
    value=$("$ENGINE" image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null) || return
    [[ $value == '<no value>' ]] || printf %s "$value"
}
# Tags by import, VERSION-PROFILE, of an image; others have no meaning here.
tag_of() {
    "$ENGINE" image inspect --format '{{range .RepoTags}}{{println .}}{{end}}' "$1" 2>/dev/null |
        sed -n "s,^$REPOSITORY:,,p" | grep -vxE 'current|previous' | head -n 1
}
version_of() {
    local version tag
    version=$(label_of "$1" org.opencontainers.image.version)
    tag=$(tag_of "$1") || tag=''
    printf %s "${version:-${tag%-*}}"
}
profile_of() {
    local profile tag
    profile=$(label_of "$1" voice.profile)
    tag=$(tag_of "$1") || tag=''
    printf %s "${profile:-${tag##*-}}"
}
release_of() { printf '%s-%s' "$(version_of "$1")" "$(profile_of "$1")"; }
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
colour() { if is_terminal; then printf '\e[%sm%s\e[0m' "$1" "$2"; else printf %s "$2"; fi; }
