# shellcheck shell=bash
# voicectl: inspects this host: the engine, the unit, the container and the images. Changes nothing.
# Sourced by voicectl.
# shellcheck disable=SC2034,SC2154  # other parts use these variables; voicectl sets the lower-case ones

# INSTANCE is a number, or empty for the one appliance of a host.
readonly SUFFIX=${INSTANCE:+-$INSTANCE}
readonly NAME=voice-appliance$SUFFIX UNIT=voice-appliance${INSTANCE:+@$INSTANCE}.service
readonly CURRENT=$REPOSITORY:current$SUFFIX PREVIOUS=$REPOSITORY:previous$SUFFIX
readonly POINTERS='(current|previous)(-[0-9]+)?' # tags that are not releases
readonly LAST=$NAME-last # the previous container, kept for its log
readonly ETC=${VOICE_ETC:-/etc/voice-appliance} HOST_RECORDS=${VOICE_STATE:-/var/lib/voice-appliance}
readonly RECORDS=$HOST_RECORDS${INSTANCE:+/instances/$INSTANCE}
# What voicectl tells the container at its start. In memory, so that a restart of the host ends it.
RUNTIME=/run
((EUID == 0)) || RUNTIME=${XDG_RUNTIME_DIR:-/run}
readonly START_FOLDER=${VOICE_RUN:-$RUNTIME}/$NAME HOST_FOLDER=/run/voice-host # outside, and in the container
readonly START_CLOSED=$START_FOLDER/start-closed                              # exists while each start is closed to callers
readonly TOKEN_STORE=/run/secrets/voice-access/tokens # in the container
readonly IMAGE_USER=10001                             # as in the Dockerfile
readonly UNITS=(gateway llm tts exporter)

# --- choose_engine: set ENGINE to the engine that has our images, otherwise to the installed one; set
#     BACKEND to systemd or engine
choose_engine() {
    local candidate images unresponsive=''
    for candidate in ${engine:-podman docker}; do
        command -v "$candidate" >/dev/null || continue
        images=$("$candidate" images --quiet "$REPOSITORY" 2>/dev/null) || { unresponsive=$candidate; continue; }
        ENGINE=${ENGINE:-$candidate}
        if [[ $images ]]; then ENGINE=$candidate && break; fi
    done
    if [[ ! ${ENGINE:-} ]]; then
        if [[ $unresponsive ]]; then
            warn "$unresponsive does not respond: try $unresponsive info"
        else
            warn "${engine:-neither podman nor docker} is not installed"
        fi
        exit 4
    fi
    BACKEND=engine
    if command -v systemctl >/dev/null && systemctl cat "$UNIT" >/dev/null 2>&1; then BACKEND=systemd; fi
}
runner() { if [[ $BACKEND == systemd ]]; then echo "$UNIT"; else echo "$ENGINE, without a unit"; fi; }

# --- inspect: set STATE (active, activating, deactivating, failed, inactive, absent). If there is a container,
#     also set EXIT, SINCE (epoch seconds or empty), START (differs after each start), IMAGE, RESTARTS, MEMORY (bytes),
#     PIDS and OOM.
inspect() {
    local values status started finished id
    STATE=absent EXIT='' SINCE='' BEGAN='' START='' IMAGE='' RESTARTS=0 MEMORY=0 PIDS=0 OOM=false
    if values=$("$ENGINE" container inspect --format '{{.State.Status}}|{{.State.ExitCode}}|{{.State.StartedAt}}|{{.State.FinishedAt}}|{{.State.OOMKilled}}|{{.Image}}|{{.RestartCount}}|{{.HostConfig.Memory}}|{{.HostConfig.PidsLimit}}|{{.Id}}' "$NAME" 2>/dev/null); then
        IFS='|' read -r status EXIT started finished OOM IMAGE RESTARTS MEMORY PIDS id <<<"$values"
        START="$id $started"
        is_number "$RESTARTS" || RESTARTS=0
        is_number "$MEMORY" || MEMORY=0
        is_number "$PIDS" || PIDS=0 # -1: no limit
        IMAGE=sha256:${IMAGE#sha256:} SINCE=$(epoch "$finished")
        case $status in
            running | paused | stopping) STATE=active SINCE=$(epoch "$started") ;;
            restarting) STATE=activating ;;
            created | configured | initialized) STATE=inactive SINCE='' ;;
            *) if [[ $EXIT == 0 ]]; then STATE=inactive; else STATE=failed; fi ;;
        esac
    fi
    if [[ $BACKEND == systemd && $STATE != active ]]; then inspect_unit; fi
}
# The unit may have removed the container; then only the unit has its exit code.
inspect_unit() {
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
    # A queued job: the unit was asked to start, and waits for its dependencies.
    if [[ $STATE == inactive && ${unit[Job]:-0} != 0 ]]; then STATE=activating; fi
    # The journal also has earlier runs, whose errors do not explain this state.
    BEGAN=$(epoch "${unit[ExecMainStartTimestamp]:-}") SINCE=$(epoch "${unit[InactiveEnterTimestamp]:-}")
    if [[ $STATE == inactive && ! $SINCE ]] && ! image_id "$CURRENT" >/dev/null; then STATE=absent; fi
}
# Convert a time in the format of Go or systemd to epoch seconds. Prints nothing for an unset time, which Go
# writes as the year 1.
epoch() {
    local text=$1
    text=$(sed -E 's/^[A-Z][a-z]{2} //; s/([+-][0-9]{4}) [A-Z+-][A-Z0-9+-]*$/\1/' <<<"$text")
    [[ $text && $text != 0001-* ]] || return 0
    date -d "$text" +%s 2>/dev/null || true
}

# --- find_secrets: set SECRET_OPTIONS for preflight. In the container, tls/ is mounted as /run/secrets/tls/.
find_secrets() {
    local certificate key
    certificate=$(site_setting TLS_CERTIFICATE) key=$(site_setting TLS_KEY)
    certificate=${certificate:-chain.pem} key=${key:-key.pem}
    SECRET_OPTIONS=(--token-file "$ETC/token" --tls-certificate "$ETC/tls/${certificate##*/}" --tls-key "$ETC/tls/${key##*/}")
}

# --- site_flags: set SITE_FLAGS, which pass this host's settings, token, certificates and lexicon to a container
site_flags() {
    SITE_FLAGS=()
    [[ ! -f $ETC/appliance.env ]] || SITE_FLAGS+=(--env-file="$ETC/appliance.env")
    [[ ! -f $ETC/token ]] || SITE_FLAGS+=(--volume="$ETC/token:/run/secrets/voice-token:ro,z")
    [[ ! -d $ETC/access ]] || SITE_FLAGS+=(--volume="$ETC/access:${TOKEN_STORE%/*}:ro,z" --env=VOICE_GATEWAY_TOKEN_STORE="$TOKEN_STORE")
    [[ ! -f $ETC/lexicon.tsv ]] || SITE_FLAGS+=(--volume="$ETC/lexicon.tsv:/etc/voice-appliance/lexicon.tsv:ro,z")
    [[ ! -d $ETC/tls ]] || SITE_FLAGS+=(--volume="$ETC/tls:/run/secrets/tls:ro,z")
}

# --- run `python -m appliance COMMAND...` in the running container, or in a new one without a network
in_container() { "$ENGINE" exec -i "$NAME" python -m appliance "$@"; }
EXTRA_FLAGS=() # of the new container
in_new_container() {
    "$ENGINE" run --rm -i --pull=never --network=none --log-driver=none --read-only --cap-drop=all --security-opt=no-new-privileges \
        "${EXTRA_FLAGS[@]}" --entrypoint python "${IMAGE:-$CURRENT}" -m appliance "$@"
}
in_any_container() { if [[ $STATE == active ]]; then in_container "$@"; else in_new_container "$@"; fi; }
# in_new_container_here COMMAND...: a new container with this host's settings, passed as `start` passes them.
in_new_container_here() {
    local flags=()
    site_flags
    # Under systemd the unit passes its own flags.
    if [[ $BACKEND == engine ]]; then mapfile -t flags < <(host_flags | grep -E '^--(env|env-file|volume|mount)='); fi
    EXTRA_FLAGS=("${SITE_FLAGS[@]}" "${flags[@]}")
    in_new_container "$@"
}
in_any_container_here() { if [[ $STATE == active ]]; then in_container "$@"; else in_new_container_here "$@"; fi; }

# --- describe_image NAME: print VERSION|PROFILE|TAG of an image. TAG is the one from its import,
#     VERSION-PROFILE; version and profile come from the labels, or without labels from that tag. Fails if
#     there is no such image.
describe_image() {
    local values version profile tags tag
    values=$("$ENGINE" image inspect --format '{{with .Config.Labels}}{{index . "org.opencontainers.image.version"}}|{{index . "voice.profile"}}{{else}}|{{end}}|{{range .RepoTags}}{{.}} {{end}}' "$1" 2>/dev/null) || return
    IFS='|' read -r version profile tags <<<"${values//<no value>/}"
    for tag in $tags; do
        if [[ $tag == "$REPOSITORY:"* && ! $tag =~ ^$REPOSITORY:$POINTERS$ ]]; then break; fi
        tag=''
    done
    tag=${tag:-} tag=${tag#"$REPOSITORY:"}
    version=${version:-${tag%-*}} profile=${profile:-${tag##*-}}
    printf '%s|%s|%s\n' "${version:-unknown}" "${profile:-unknown}" "$tag"
}
release_of() {
    local version profile
    IFS='|' read -r version profile _ < <(describe_image "$1") && printf '%s-%s' "$version" "$profile"
}
profile_of() {
    local profile
    IFS='|' read -r _ profile _ < <(describe_image "$1") && printf %s "$profile"
}
short_id() { printf %s "${1:0:19}"; }

# --- colour; decided once, because inside $(...) stdout is not a terminal
TERMINAL=no
if [[ -t 1 && ! ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then TERMINAL=yes; fi
is_terminal() { [[ $TERMINAL == yes ]]; }
colour_options() { if is_terminal; then printf '%s\n' --colour always; fi; }
colour() { if is_terminal; then printf '\e[%sm%s\e[0m' "$1" "$2"; else printf %s "$2"; fi; }
