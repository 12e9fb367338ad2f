# shellcheck shell=bash
# The checks of ops/preflight. Each sets REQUIRED and FOUND, and calls `judge STATE TODO` if it does not
# pass. They change nothing and need only bash and coreutils.
# shellcheck disable=SC2034,SC2154  # ops/preflight sets the lower-case variables and reads the others

CHECKS=(tools release engine store space base host-memory port clock certificate key token)
GPU_CHECKS=(driver capability memory memory-free injection)

# The PyTorch in requirements/gpu.txt is built for CUDA 13.0, which needs driver branch 580.
DRIVER_MIN=580.65.06
# Older GPUs lack bfloat16; PyTorch 2.13 does not support newer ones. See docs/hardware.md.
CAPABILITY_MIN=8.0 CAPABILITY_MAX=12.9
# GPU memory as nvidia-smi reports it: the least that fits the models, and the size the appliance is
# designed for.
MEMORY_MIN_MIB=16000 MEMORY_RECOMMENDED_MIB=22000
# Memory of the host. cpu: resident memory of the appliance with its default model, measured
# (docs/performance.md). gpu: the memory limit of the unit, an estimate.
HOST_MEMORY_CPU_BYTES=3500000000 HOST_MEMORY_GPU_BYTES=16000000000
PODMAN_MIN=4.3 DOCKER_MIN=20.10
CERTIFICATE_DAYS=30
IMAGE_USER=10001 # as in the Dockerfile; the same user on the host if the engine runs as root
MEMINFO=${VOICE_MEMINFO:-/proc/meminfo} # proc(5)
CDI_FOLDERS=${VOICE_CDI_FOLDERS:-/etc/cdi /var/run/cdi}

judge() { STATE=$1 TODO=$2; }
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

check_tools() {
    REQUIRED='the programs that import needs' FOUND='all are installed'
    local missing
    missing=$(missing_tools)
    [[ $missing ]] || return 0
    FOUND="not installed: $missing"
    judge fail 'install these packages from the distribution'
}

# --- the release: ops/preflight sets VERIFIED and PROBLEM when it reads it
check_release() {
    REQUIRED='a release that a listed signer signed' FOUND='no release was given'
    case $VERIFIED in
        yes) FOUND="signed by $SIGNER" ;;
        no) FOUND=$PROBLEM && judge fail 'copy the release again, from where it was exported; do not use this one' ;;
        no-tools) FOUND='not verified' && judge fail 'see the check "tools"' ;;
        unknown) FOUND="not verified: $signers cannot be read" && judge warn 'set the list of signers (--signers); import needs it' ;;
    esac
}

# --- the engine, and where it keeps images
check_engine() {
    local version
    REQUIRED="podman $PODMAN_MIN or docker $DOCKER_MIN, or newer" FOUND=neither
    if ! find_engine "$engine"; then
        judge fail 'install podman from the distribution'
        return
    fi
    case $ENGINE in
        podman) REQUIRED="podman $PODMAN_MIN or newer" version=$(podman version --format '{{.Client.Version}}' 2>/dev/null) ;;
        docker) REQUIRED="docker $DOCKER_MIN or newer" version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) ;;
    esac
    FOUND="$ENGINE ${version:-does not respond}"
    if [[ -z $version ]]; then
        judge fail "run $ENGINE info as this user, and fix what it reports"
    elif ! at_least "$version" "${REQUIRED//[a-z ]/}"; then
        judge fail "update $ENGINE"
    elif is_rootless; then
        REQUIRED+=', run by root' FOUND+=', rootless'
        judge fail "run preflight, import and voicectl as root: they and the units use root's $ENGINE"
    fi
}
has_engine() {
    FOUND='not checked'
    if find_engine "$engine" && STORE_FOLDER=$(engine_store) && [[ $STORE_FOLDER ]]; then return; fi
    judge fail 'see the check "engine"'
    return 1
}

check_store() {
    local driver
    REQUIRED='an overlay store'
    has_engine || return 0
    case $ENGINE in
        podman) driver=$(podman info --format '{{.Store.GraphDriverName}}' 2>/dev/null) ;;
        docker) driver=$(docker info --format '{{.Driver}}' 2>/dev/null) ;;
    esac
    FOUND="$driver in $STORE_FOLDER"
    if is_containerd_store; then
        FOUND="Docker's containerd store in $STORE_FOLDER"
        ((!OMITTED_LAYERS)) || judge fail 'it cannot load a delta: use the full release'
    elif [[ $driver == vfs* ]]; then
        judge warn 'vfs copies every layer in full: use overlay, or provide several times the space'
    fi
}

check_space() {
    local needed available
    REQUIRED='space for the image'
    has_engine || return 0
    available=$(free_bytes "$STORE_FOLDER") || available=0
    FOUND="$(megabytes "$available") free in $STORE_FOLDER"
    if ((!${#LAYER_BYTES[@]})); then
        judge warn 'pass the release folder, so that the size is known'
        return
    fi
    needed=$(import_bytes "$OMITTED_LAYERS")
    REQUIRED="$(megabytes "$needed"), for the unpacked archive and the image"
    if ((available < needed)); then
        judge fail "free some space, or move the store of $ENGINE to a larger disk"
    elif [[ $VERIFIED == unknown ]]; then
        judge warn "the size is that of an unverified release: see the check \"release\""
    fi
}

check_base() {
    REQUIRED='the base image of a delta' FOUND='not a delta'
    ((OMITTED_LAYERS)) || return 0
    REQUIRED="an image with the layers of version $BASE_VERSION"
    has_engine || return 0
    FOUND=present
    has_base || { FOUND=missing; judge fail "import the release of version $BASE_VERSION first, or use the full release"; }
}

# --- the memory of the host
check_host_memory() {
    local needed=$HOST_MEMORY_CPU_BYTES total='' name rest
    [[ $profile != gpu ]] || needed=$HOST_MEMORY_GPU_BYTES
    REQUIRED="$(megabytes "$needed") of memory" FOUND='not checked'
    while read -r name total rest; do [[ $name != MemTotal: ]] || break; done <"$MEMINFO" || true
    if [[ $name != MemTotal: ]] || ! is_number "$total"; then
        judge warn "look into $MEMINFO, which has no line MemTotal with a number"
        return
    fi
    FOUND=$(megabytes $((total * 1024))) # the kernel's kB are KiB
    ((total * 1024 >= needed)) ||
        judge warn 'use a host with more memory, or an image with a smaller language model (docs/image-manifest.md)'
}

# --- the port: fails if a process listens on it. The kernel lists sockets in hexadecimal; 0A is LISTEN.
check_port() {
    local hex
    printf -v hex ':%04X' "$port"
    REQUIRED="port $port free" FOUND=free
    grep -qE "^ *[0-9]+: [0-9A-F]+$hex [0-9A-F:]+ 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null || return 0
    FOUND="port $port is in use"
    if ((upgrade)); then
        FOUND+=', presumably by the running release'
    else
        judge fail 'stop the process that listens there, or choose another port (--port)'
    fi
}

check_clock() {
    local now synchronised
    now=$(date +%s)
    synchronised=$(timedatectl show --property=NTPSynchronized --value 2>/dev/null) || synchronised=unknown
    REQUIRED='a synchronised clock' FOUND="$(utc "$now"), synchronised: ${synchronised:-unknown}"
    ((!EXPORTED)) || REQUIRED+=", later than $(utc "$EXPORTED"), when the release was exported"
    if ((now < EXPORTED)); then
        judge fail 'set the clock'
    elif [[ $synchronised != yes ]]; then
        judge warn 'synchronise it with a time server in your network: chrony or systemd-timesyncd'
    fi
}
utc() { date -u -d "@$1" '+%F %T UTC'; }

# --- certificate, key and token: present, in date, and readable by the image's user only
check_certificate() {
    local seconds=$((CERTIFICATE_DAYS * 86400))
    REQUIRED="a PEM certificate, valid for at least $CERTIFICATE_DAYS days" FOUND=$tls_certificate
    if [[ ! -r $tls_certificate ]]; then
        FOUND+=' cannot be read'
        judge warn 'the first start makes one (voicectl tls init); set the path of your own (--tls-certificate)'
    elif ! command -v openssl >/dev/null; then
        judge warn 'openssl is not installed: check the expiry date yourself'
    elif ! openssl x509 -noout -in "$tls_certificate" 2>/dev/null; then
        FOUND+=' is not a certificate' && judge fail 'replace it with a PEM certificate'
    elif ! openssl x509 -noout -checkend 0 -in "$tls_certificate" >/dev/null; then
        FOUND+=" expired: $(expiry)" && judge fail 'renew it'
    elif ! openssl x509 -noout -checkend "$seconds" -in "$tls_certificate" >/dev/null; then
        FOUND+=" expires soon: $(expiry)" && judge warn 'renew it'
    fi
}
expiry() { openssl x509 -noout -enddate -in "$tls_certificate" | cut -d = -f 2; }

check_key() {
    REQUIRED="the private key of the certificate, readable by the image's user only" FOUND=$tls_key
    if [[ ! -e $tls_key && ! -e $tls_certificate ]]; then
        FOUND+=' is missing, as is the certificate' && judge warn 'see the check "certificate"'
        return
    fi
    judge_secret "$tls_key" 'set its path (--tls-key)'
    if [[ $STATE != pass || ! -r $tls_certificate ]] || ! command -v openssl >/dev/null; then return; fi
    [[ $(openssl x509 -noout -pubkey -in "$tls_certificate" 2>&1) == "$(openssl pkey -pubout -in "$tls_key" -passin pass: 2>/dev/null)" ]] ||
        { FOUND+=' belongs to another certificate'; judge fail "replace it with the key of $tls_certificate"; }
}
check_token() {
    REQUIRED="the access token, readable by the image's user only" FOUND=$token_file
    judge_secret "$token_file" \
        "create one: (umask 377; head -c 32 /dev/urandom | base64 >$token_file) && chown $IMAGE_USER $token_file"
}
judge_secret() {
    local file=$1 advice=$2 mode owner
    if [[ ! -s $file ]]; then
        FOUND+=' is missing or empty' && judge fail "$advice"
        return
    fi
    read -r mode owner < <(stat --dereference --format '%a %u' "$file")
    FOUND+=", mode $mode, owned by user $owner"
    if ((8#$mode & 8#077)); then
        judge fail "chmod 400 $file"
    elif ((!EUID && owner != IMAGE_USER)); then # a rootless engine maps the user to another UID
        judge fail "chown $IMAGE_USER $file: the appliance could not read it"
    fi
}

# --- query_gpu: set GPU_NAME, DRIVER, CAPABILITY, TOTAL_MIB and FREE_MIB of one GPU from nvidia-smi: that of
#     --card, or the first
query_gpu() {
    local line code=0
    line=$(timeout 10 nvidia-smi ${card:+--id="$card"} --query-gpu=name,driver_version,compute_cap,memory.total,memory.free \
        --format=csv,noheader,nounits 2>/dev/null | head -n 1) || code=$?
    if ((code == 0)) && [[ $line == *,*,*,*,* ]]; then
        IFS=, read -r GPU_NAME DRIVER CAPABILITY TOTAL_MIB FREE_MIB <<<"${line//, /,}"
        return
    elif ((code == 124)); then # timeout's exit code when it expires
        FOUND='nvidia-smi does not respond'
        judge fail 'the GPU may be lost: look for Xid in dmesg, and restart the host'
        return 1
    fi
    FOUND="no GPU: nvidia-smi finds none${card:+ with number $card}"
    command -v nvidia-smi >/dev/null || FOUND='nvidia-smi is not installed'
    judge fail 'install the NVIDIA driver, branch 580 or newer, and check that nvidia-smi lists the GPU'
    return 1
}
check_driver() {
    REQUIRED="NVIDIA driver $DRIVER_MIN or newer, for CUDA 13.0"
    query_gpu || return 0
    FOUND="driver $DRIVER for $GPU_NAME"
    at_least "$DRIVER" "$DRIVER_MIN" || judge fail 'update the NVIDIA driver and restart the host'
}
check_capability() {
    REQUIRED="compute capability $CAPABILITY_MIN to $CAPABILITY_MAX"
    query_gpu || return 0
    FOUND="compute capability $CAPABILITY: $GPU_NAME"
    if ! at_least "$CAPABILITY" "$CAPABILITY_MIN"; then
        judge fail 'this GPU does not support bfloat16: use an A10, an L4 or a newer one'
    elif ! at_least "$CAPABILITY_MAX" "$CAPABILITY"; then
        judge warn 'the PyTorch in the image does not support this newer GPU: rely on it only after a smoke test'
    fi
}
# Some drivers report the memory of some GPUs as "[N/A]".
query_memory() {
    query_gpu || return 1
    if is_number "$TOTAL_MIB" && is_number "$FREE_MIB"; then return 0; fi
    FOUND="nvidia-smi reports no size for $GPU_NAME"
    judge warn 'look up the memory of this GPU'
    return 1
}
check_memory() {
    REQUIRED="$MEMORY_RECOMMENDED_MIB MiB, at least $MEMORY_MIN_MIB"
    query_memory || return 0
    FOUND="$TOTAL_MIB MiB on $GPU_NAME"
    if ((TOTAL_MIB < MEMORY_MIN_MIB)); then
        judge fail 'use a GPU with more memory'
    elif ((TOTAL_MIB < MEMORY_RECOMMENDED_MIB)); then
        judge warn 'only quantised weights fit, and only few calls: see docs/hardware.md'
    fi
}
check_memory_free() {
    REQUIRED="90 % of the GPU's memory free, at least $MEMORY_MIN_MIB MiB"
    query_memory || return 0
    FOUND="$FREE_MIB of $TOTAL_MIB MiB free on $GPU_NAME"
    ((FREE_MIB * 10 < TOTAL_MIB * 9)) || return 0
    if ((upgrade)); then
        FOUND+=', the rest presumably in use by the running release'
    elif ((FREE_MIB < MEMORY_MIN_MIB)); then
        judge fail 'stop the other processes on the GPU: nvidia-smi lists them'
    else
        judge warn 'stop the other processes on the GPU: nvidia-smi lists them'
    fi
}

# --- how the container gets the GPU: a CDI file for this driver, or Docker's NVIDIA runtime
check_injection() {
    local folder file spec='' advice='nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'
    REQUIRED='a CDI file for the running driver, which gives a container the GPU' FOUND='no CDI file for nvidia.com/gpu'
    command -v nvidia-ctk >/dev/null || advice="install the NVIDIA container toolkit; then $advice"
    for folder in $CDI_FOLDERS; do
        for file in "$folder"/*.yaml "$folder"/*.json; do
            if grep -qs 'nvidia\.com/gpu' "$file"; then spec=$file; fi
        done
    done
    if find_engine "$engine" && [[ $ENGINE == docker ]] && docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia; then
        FOUND="Docker's NVIDIA runtime"
        return
    fi
    [[ $spec ]] || { judge fail "$advice"; return; }
    FOUND=$spec
    query_gpu || return 0
    grep -qF ".so.$DRIVER" "$spec" || { FOUND+=" is not for driver $DRIVER"; judge fail "$advice"; }
}
