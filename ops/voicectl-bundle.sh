# shellcheck shell=bash
# voicectl: the support bundle. It contains the appliance's own bundle, with the log redacted by the image;
# facts about this host that are listed below; and the names of other values. Changes nothing.
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
    collect preflight.json preflight_facts
    collect engine.txt engine_facts
    collect unit.txt unit_facts
    collect host.txt host_facts
    collect gpu.txt gpu_facts
    [[ ! -f $LOG ]] || shown_steps <"$LOG" >activations.log
    [[ ! -f $ETC/host.flags ]] || shown_arguments <"$ETC/host.flags" >host.flags
    [[ ! -f $ETC/appliance.env ]] || shown_names <"$ETC/appliance.env" >appliance.env
    if [[ -d $RECORDS/reports ]]; then
        mkdir reports && find "$RECORDS/reports" -maxdepth 1 -name '*.json' -exec cp {} reports/ \;
    fi
    image_id "${IMAGE:-$CURRENT}" >/dev/null || return 0
    raw_log 0 '' "$LOG_LINES" 2>/dev/null | in_any_container bundle 2>appliance.errors | unpack appliance || true
    for container in "$NAME" "$LAST"; do
        "$ENGINE" container inspect --format "$SHOWN_OF_CONTAINER" "$container" >"$container.inspect.json" 2>/dev/null || true
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

# --- what may leave the host. Everything else, such as variables, labels and comments, may hold a secret in one
#     of many spellings, so only its name is shown.
readonly SHOWN_FLAGS='memory|memory-swap|pids-limit|cpus|shm-size|ulimit|read-only|cap-drop|cap-add|security-opt|tmpfs|volume|network|publish|device|gpus|health-interval|health-timeout|health-retries|health-start-period|stop-timeout|name|rm|replace|detach|pull|cgroups|sdnotify|log-driver|tz|restart'
readonly SHOWN_KEYS='Type|Restart|RestartSec|RestartPreventExitStatus|TimeoutStartSec|TimeoutStopSec|StartLimitIntervalSec|StartLimitBurst|KillMode|NotifyAccess|OOMPolicy|LimitCORE|LogRateLimitIntervalSec|LogRateLimitBurst|After|Wants|Requires|RequiresMountsFor|WantedBy|Image|ContainerName|EnvironmentFile|Network|PublishPort|Volume|Tmpfs|AddDevice|ReadOnly|DropCapability|NoNewPrivileges|HealthInterval|HealthTimeout|HealthRetries|HealthStartPeriod|LogDriver|Timezone'
# shellcheck disable=SC2016  # a template of the container engine
readonly SHOWN_OF_CONTAINER='{"Name": {{json .Name}}, "Image": {{json .Image}}, "Created": {{json .Created}},
 "RestartCount": {{json .RestartCount}}, "Status": {{json .State.Status}}, "ExitCode": {{json .State.ExitCode}},
 "OOMKilled": {{json .State.OOMKilled}}, "StartedAt": {{json .State.StartedAt}}, "FinishedAt": {{json .State.FinishedAt}},
 "Memory": {{json .HostConfig.Memory}}, "MemorySwap": {{json .HostConfig.MemorySwap}},
 "PidsLimit": {{json .HostConfig.PidsLimit}}, "Ulimits": {{json .HostConfig.Ulimits}},
 "ShmSize": {{json .HostConfig.ShmSize}}, "Tmpfs": {{json .HostConfig.Tmpfs}}, "Mounts": {{json .Mounts}},
 "Privileged": {{json .HostConfig.Privileged}}, "ReadonlyRootfs": {{json .HostConfig.ReadonlyRootfs}},
 "CapAdd": {{json .HostConfig.CapAdd}}, "CapDrop": {{json .HostConfig.CapDrop}},
 "SecurityOpt": {{json .HostConfig.SecurityOpt}}, "NetworkMode": {{json .HostConfig.NetworkMode}},
 "PidMode": {{json .HostConfig.PidMode}}, "IpcMode": {{json .HostConfig.IpcMode}},
 "RestartPolicy": {{json .HostConfig.RestartPolicy}},
 "Env": [{{range $i, $pair := .Config.Env}}{{if $i}}, {{end}}{{json (index (split $pair "=") 0)}}{{end}}]}'
readonly SHOWN_OF_UNIT=ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus,ActiveEnterTimestamp,InactiveEnterTimestamp,UnitFileState
# NAME=... for each line that sets a variable; nothing of the others.
shown_names() { sed -nE 's/^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=.*/\1=.../p'; }
# The arguments of a container engine, one a line: listed flags with their values, names of the others.
shown_arguments() {
    awk -v shown="^--($SHOWN_FLAGS)\$" '
        !/^-/ { next }
        !/^--[a-z][a-z-]*([= ]|$)/ { print substr($0, 1, 2) "..."; next }
        { name = $0; sub(/[= ].*/, "", name) }
        name ~ shown && $0 ~ /^--[a-z-]+(=[A-Za-z0-9_.:,\/=@%-]*)?$/ { print; next }
        { print name (name == $0 ? "" : "=...") }'
}
# A unit: its sections, listed keys with their values, names of the others, and what it runs as its arguments.
shown_unit() {
    local line joined='' key
    while IFS= read -r line || [[ $line ]]; do
        [[ ! $line =~ ^[[:space:]]*([#\;]|$) ]] || continue # systemd ignores comments between continued lines, too
        if [[ $line == *\\ ]]; then joined+="${line%\\} " && continue; fi
        line=$joined$line joined=''
        key=${line%%=*}
        if [[ $line =~ ^\[[A-Za-z]+\]$ ]] || [[ $key =~ ^($SHOWN_KEYS)$ && $line =~ ^[A-Za-z]+=[A-Za-z0-9_.:,/=@%\ \$\{\}-]*$ ]]; then
            printf '%s\n' "$line"
        elif [[ $key =~ ^(Exec[A-Za-z]+|PodmanArgs)$ ]]; then
            printf '%s=...\n' "$key"
            { xargs printf '%s\n' <<<"${line#*=}" 2>/dev/null || true; } | shown_arguments | sed 's/^/    /'
        elif [[ $key =~ ^[A-Za-z]+$ ]]; then
            printf '%s=...\n' "$key"
        fi
    done
}

# activations.log: of why a change failed, the words that voicectl writes itself. The rest quotes the engine, systemd,
# or an error of the appliance.
shown_steps() {
    sed -E '/^[^ ]+  [0-9a-f]+  (back|stuck) /{/  (back|stuck) (interrupted|cut off)$/!s/^([^ ]+  [0-9a-f]+  [a-z]+ )(it stopped with exit code [0-9]+|the smoke test exited with code [0-9]+|not ready in [0-9]+ s)?.*/\1\2.../}'
}
# JSON on stdin without the texts of errors, which quote the values that they refuse.
without_texts() { sed -E 's/("(what|why)": *)"([^"\\]|\\.)*"/\1"..."/g'; }

status_facts() {
    query_appliance json
    read_unfinished || UNFINISHED=''
    status_json | without_texts
}
# The names of certificate and key are values of settings, unless they are the default ones.
preflight_facts() {
    local found code=0 file name
    found=$(preflight --json "$(profile_of "$CURRENT" || echo cpu)") || code=$?
    find_secrets
    for file in "${SECRET_OPTIONS[@]}"; do
        name=$(json_string "${file##*/}")
        [[ $file != "$ETC/tls/"* || $name =~ ^\"(chain|key)\.pem\"$ ]] || found=${found//"/${name:1:-1}"/\/...}
    done
    printf '%s\n' "$found"
    return "$code"
}
engine_facts() {
    "$ENGINE" version
    case $ENGINE in
        podman) "$ENGINE" info --format '{{.Host.Kernel}} {{.Host.OCIRuntime.Name}} {{.Host.CgroupManager}} {{.Host.CgroupsVersion}} {{.Host.NetworkBackend}} {{.Host.Security.Rootless}} {{.Host.Security.SELinuxEnabled}} {{.Store.GraphDriverName}} {{.Store.GraphRoot}}' ;;
        docker) "$ENGINE" info --format '{{.KernelVersion}} {{.OperatingSystem}} {{.DefaultRuntime}} {{.CgroupDriver}} {{.CgroupVersion}} {{.SecurityOptions}} {{.Driver}} {{.DockerRootDir}}' ;;
    esac
    # Other containers and images of this host are not shown.
    "$ENGINE" images --no-trunc "$REPOSITORY"
    "$ENGINE" ps --all --no-trunc --filter "name=$NAME" --format '{{.ID}} {{.Image}} {{.Names}} {{.Status}}'
}
unit_facts() {
    [[ $BACKEND == systemd ]] || { echo 'no unit'; return; }
    systemctl cat "$UNIT" | shown_unit
    systemctl show --property="$SHOWN_OF_UNIT" "$UNIT"
}
host_facts() {
    date -u +%FT%TZ
    uname -a
    uptime
    cat /etc/os-release /proc/loadavg
    nproc
    grep -E '^(Mem|Swap)' /proc/meminfo
    df_facts
}
# The file systems that the appliance needs. Others may be those of other containers, or name what a site stores.
df_facts() {
    local folder folders=()
    for folder in / /tmp /var/tmp "$ETC" "$RECORDS" "$(engine_store || true)"; do
        [[ ! -d $folder ]] || folders+=("$folder")
    done
    df --human-readable "${folders[@]}"
}
gpu_facts() {
    # nvidia-smi hangs when a GPU is lost.
    # Only the GPUs: its tables also list the processes of other containers.
    timeout 20 nvidia-smi --query-gpu=index,name,uuid,driver_version,vbios_version,pstate,temperature.gpu,power.draw,utilization.gpu,memory.used,memory.total,ecc.errors.uncorrected.volatile.total,mig.mode.current --format=csv
    dmesg --ctime | grep -E 'NVRM|Xid|Out of memory|oom-kill' | tail -n 200 | without_neighbours
}
# Lines of the kernel about processes: the names of programs that are not the appliance's, and of control groups, are
# those of other containers.
without_neighbours() {
    sed -E 's/(task_memcg|oom_memcg|cpuset)=[^, ]*/\1=.../g; /\((python|supervisord)[^)]*\)|(task|name)=(python|supervisord)/!{s/(Killed process [0-9]+) \([^)]*\)/\1 (...)/; s/(task|name)=[^, ]*/\1=.../g}'
}
