# shellcheck shell=bash
# voicectl: the support bundle. States, facts and the log, which by its making has no words of a caller;
# nothing of the environment but names. Sourced by voicectl.
# shellcheck disable=SC2153  # look sets STATE

verb_bundle() {
    local out='' name
    while (($#)); do
        case $1 in
            --out) out=${2:?--out needs a file} && shift ;;
            *) fatal "unknown option $1; see voicectl bundle --help" ;;
        esac
        shift
    done
    look
    name=voice-appliance-bundle-$(date -u +%Y%m%dT%H%M%SZ)
    out=${out:-$RECORDS/$name.tar.zst}
    mkdir -p "$(dirname "$out")" || fatal "$(dirname "$out") cannot be made: name another file with --out"
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    mkdir "$WORK/$name"
    (cd "$WORK/$name" && gather)
    (umask 077 && tar --create --directory="$WORK" --owner=0 --group=0 "$name" | zstd --quiet --force -o "$out.partial" -)
    mv "$out.partial" "$out"
    info "$out: $(find "$WORK/$name" -type f | wc -l) files, $(megabytes "$(stat --format %s "$out")")"
}

# --- fact FILE COMMAND...: what a command says, errors too; one that fails or hangs spoils nothing
fact() {
    local file=$1 code=0
    shift
    timeout 60 "$@" >"$file" 2>&1 </dev/null || code=$?
    ((code == 0)) || printf '(exit code %d: %s)\n' "$code" "$*" >>"$file"
}
fact_of() {
    local file=$1
    shift
    "$@" >"$file" 2>&1 </dev/null || true
}

gather() {
    local container
    fact voicectl-status.json "$HERE/voicectl" --engine "$ENGINE" status --json
    fact releases.txt "$HERE/voicectl" --engine "$ENGINE" releases
    fact preflight.json "$HERE/preflight" --json --upgrade --engine "$ENGINE" --profile "$(profile_of "$CURRENT")" \
        --token-file "$ETC/token" --tls-certificate "$ETC/tls/tls.crt" --tls-key "$ETC/tls/tls.key"
    fact engine-version.txt "$ENGINE" version
    fact engine-info.txt "$ENGINE" info
    fact images.txt "$ENGINE" images --no-trunc
    for container in "$NAME" "$LAST"; do
        if "$ENGINE" container inspect "$container" >/dev/null 2>&1; then
            fact_of "$container.inspect.json" inspect_without_values "$container"
            fact_of "$container.log" filtered_log "$container"
        fi
    done
    [[ $BACKEND != systemd ]] || fact_of unit.log filtered_log ''
    fact_of unit.txt unit_facts
    fact_of host.txt host_facts
    fact_of card.txt card_facts
    [[ ! -f $LOG ]] || cp "$LOG" activations.log
    [[ ! -d $RECORDS/reports ]] || cp -r "$RECORDS/reports" reports
    [[ ! -f $ETC/host.flags ]] || cp "$ETC/host.flags" host.flags
    fact_of settings-names.txt sed -nE 's/^([A-Za-z_]+)=.*/\1=.../p' "$ETC/appliance.env"
    if [[ $STATE == active ]]; then fact_of metrics.txt metrics; fi
}

# --- of the environment the names alone, and of annotations and labels as they are
inspect_without_values() {
    "$ENGINE" container inspect "$1" | sed -E \
        -e 's/^( *"[A-Za-z_][A-Za-z0-9_]*)=.*[^,](,?)$/\1=..."\2/' \
        -e 's/(--env|-e)(=| )?([A-Za-z_][A-Za-z0-9_]*)=[^" ]*/\1\2\3=.../g'
}
# Only lines of our own making, as they pass the journal's list of fields; anything else may hold anything.
filtered_log() {
    if [[ $1 ]]; then "$ENGINE" logs --tail 20000 "$1" 2>&1; else raw_log 0 '' 20000; fi | grep -E '^\{.*\}$'
}
metrics() {
    "$ENGINE" exec -i "$NAME" python -c \
        'import os, urllib.request as r; print(r.urlopen("http://127.0.0.1:" + os.environ.get("VOICE_EXPORTER_PORT", "9465") + "/metrics", timeout=20).read().decode())'
}
unit_facts() {
    [[ $BACKEND == systemd ]] || { echo 'no unit'; return; }
    systemctl cat "$UNIT" | sed -E 's/^(Environment=[A-Za-z_"]*)=.*/\1=.../; s/(--env[= ][A-Za-z_]+)=[^ ]*/\1=.../g'
    systemctl status --no-pager --lines=0 "$UNIT"
}
host_facts() {
    date -u +%FT%TZ
    uname -a
    uptime
    cat /etc/os-release
    nproc
    grep -E '^(Mem|Swap)' /proc/meminfo
    df --human-readable
    id
}
card_facts() {
    nvidia-smi
    nvidia-smi --query
    dmesg --ctime | grep -E 'NVRM|Xid|Out of memory|oom-kill' | tail -n 200
}
