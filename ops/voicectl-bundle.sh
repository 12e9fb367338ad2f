# shellcheck shell=bash
# voicectl: the support bundle. It contains the appliance's own bundle, with the log redacted by the image;
# facts about this host; and the names of environment variables without their values. Changes nothing.
# Sourced by voicectl.
# shellcheck disable=SC2034,SC2153  # inspect sets STATE; UNFINISHED is for status_json

readonly LOG_LINES=100000 # the limit of the appliance's own bundle

command_bundle() {
    local out='' name work remove
    while (($#)); do
        case $1 in
            --out) out=${2:?--out needs a file} && shift ;;
            *) fatal "unknown option $1; see voicectl bundle --help" ;;
        esac
        shift
    done
    inspect
    name=voice-appliance-bundle-$(date -u +%Y%m%dT%H%M%SZ)
    out=$(realpath -m "${out:-$RECORDS/$name.tar.zst}")
    { mkdir -p "$(dirname "$out")" && : >"$out.partial"; } 2>/dev/null ||
        fatal "cannot write to $out: choose another file with --out"
    work=$(mktemp -d)
    printf -v remove 'rm -rf %q %q' "$work" "$out.partial"
    # shellcheck disable=SC2064  # expand the names now
    trap "$remove" EXIT
    chmod 600 "$out.partial"
    mkdir "$work/$name"
    (cd "$work/$name" && gather)
    tar --create --directory="$work" --owner=0 --group=0 --numeric-owner "$name" | zstd --quiet --stdout >"$out.partial"
    mv "$out.partial" "$out"
    info "$out: $(find "$work/$name" -type f | wc -l) files, $(megabytes "$(stat --format %s "$out")")"
}

# --- gather: write one file for each source. A source that fails notes its exit code in its file; the others
#     are still collected.
gather() {
    local container
    collect status.json status_facts
    collect releases.txt command_releases
    collect preflight.json preflight --json "$(profile_of "$CURRENT" || echo cpu)"
    collect engine.txt engine_facts
    collect unit.txt unit_facts
    collect host.txt host_facts
    collect gpu.txt gpu_facts
    [[ ! -f $LOG ]] || cp "$LOG" activations.log
    [[ ! -f $ETC/host.flags ]] || without_values <"$ETC/host.flags" >host.flags
    [[ ! -f $ETC/appliance.env ]] || sed 's/=.*/=.../' "$ETC/appliance.env" >appliance.env
    if [[ -d $RECORDS/reports ]]; then
        mkdir reports && find "$RECORDS/reports" -maxdepth 1 -name '*.json' -exec cp {} reports/ \;
    fi
    image_id "${IMAGE:-$CURRENT}" >/dev/null || return 0
    raw_log 0 '' "$LOG_LINES" 2>/dev/null | in_any_container bundle 2>appliance.errors | unpack appliance || true
    for container in "$NAME" "$LAST"; do
        "$ENGINE" container inspect "$container" 2>/dev/null | without_values >"$container.inspect.json" || true
    done
    if "$ENGINE" container inspect "$LAST" >/dev/null 2>&1; then
        "$ENGINE" logs --tail "$LOG_LINES" "$LAST" 2>&1 | in_new_container bundle 2>>appliance.errors | unpack last || true
    fi
    find . -type f -empty -delete
}
collect() {
    local file=$1 code=0
    shift
    ("$@") >"$file" 2>&1 </dev/null || code=$?
    ((code == 0)) || printf '(exit code %d)\n' "$code" >>"$file"
}
unpack() { mkdir "$1" && tar --extract --directory="$1" --strip-components=1 --no-same-owner; }

# --- without_values: remove the values of environment variables: in a JSON list, after --env, and in a unit
without_values() {
    sed -E -e 's/^( *"[A-Za-z_][A-Za-z0-9_]*)=.*[^,](,?)$/\1=..."\2/' \
        -e 's/(--env|-e)([= ]|", "|",)?([A-Za-z_][A-Za-z0-9_]*)=[^" ]*/\1\2\3=.../g' \
        -e 's/^(Environment="?[A-Za-z_][A-Za-z0-9_]*)=.*/\1=.../'
}

status_facts() {
    query_appliance json
    read_unfinished || UNFINISHED=''
    status_json
}
engine_facts() {
    "$ENGINE" version
    "$ENGINE" info
    "$ENGINE" images --no-trunc
    "$ENGINE" ps --all --no-trunc
}
unit_facts() {
    [[ $BACKEND == systemd ]] || { echo 'no unit'; return; }
    systemctl cat "$UNIT" | without_values
    systemctl status --no-pager --lines=0 "$UNIT"
}
host_facts() {
    date -u +%FT%TZ
    uname -a
    uptime
    cat /etc/os-release /proc/loadavg
    nproc
    grep -E '^(Mem|Swap)' /proc/meminfo
    df --human-readable
}
gpu_facts() {
    # nvidia-smi hangs when a GPU is lost.
    timeout 20 nvidia-smi
    timeout 20 nvidia-smi --query
    dmesg --ctime | grep -E 'NVRM|Xid|Out of memory|oom-kill' | tail -n 200
}
