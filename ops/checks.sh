# shellcheck shell=bash
# The checks of ops/preflight. Each sets WANTED and FOUND, and where it is not content calls `judge
# STATE TODO`. They change nothing and need nothing but bash and coreutils.
# shellcheck disable=SC2034,SC2154  # what is lower case here, ops/preflight sets; it reads the rest

CHECKS=(engine store space base port clock certificate key token)
GPU_CHECKS=(driver capability memory memory-free injection)

# CUDA 13.0, for which the gpu lock's PyTorch is built, needs the driver branch 580.
DRIVER_WANTED=580.65.06
# Below, no bfloat16; above, newer than what PyTorch 2.13 was built for. See docs/hardware.md.
CAPABILITY_LEAST=8.0 CAPABILITY_MOST=12.9
# The smallest card that carries the models, and the one it was planned for (MiB as nvidia-smi says).
MEMORY_LEAST_MIB=16000 MEMORY_WANTED_MIB=22000
PODMAN_WANTED=4.3 DOCKER_WANTED=20.10
CERTIFICATE_DAYS=30
IMAGE_USER=10001 # as in the Dockerfile; on a host with root's engine it is the same user outside
CDI_FOLDERS=${VOICE_CDI_FOLDERS:-/etc/cdi /var/run/cdi}

judge() { STATE=$1 TODO=$2; }
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# --- the engine, and where it keeps images
check_engine() {
    local version
    WANTED="podman $PODMAN_WANTED or docker $DOCKER_WANTED, or newer" FOUND=neither
    if ! find_engine "$engine"; then
        judge fail 'install podman from the distribution'
        return
    fi
    case $ENGINE in
        podman) WANTED="podman $PODMAN_WANTED or newer" version=$(podman version --format '{{.Client.Version}}' 2>/dev/null) ;;
        docker) WANTED="docker $DOCKER_WANTED or newer" version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) ;;
    esac
    FOUND="$ENGINE ${version:-that does not answer}"
    if [[ -z $version ]]; then
        judge fail "run $ENGINE info as this user, and see what it says"
    elif ! at_least "$version" "${WANTED//[a-z ]/}"; then
        judge fail "update $ENGINE"
    fi
}
has_engine() {
    FOUND='not looked at'
    if find_engine "$engine" && STORE_FOLDER=$(engine_root) && [[ $STORE_FOLDER ]]; then return; fi
    judge fail 'see the check named engine'
    return 1
}

check_store() {
    local driver
    WANTED='an overlay store'
    has_engine || return 0
    case $ENGINE in
        podman) driver=$(podman info --format '{{.Store.GraphDriverName}}' 2>/dev/null) ;;
        docker) driver=$(docker info --format '{{.Driver}}' 2>/dev/null) ;;
    esac
    FOUND="$driver in $STORE_FOLDER"
    if is_containerd_store; then
        FOUND="containerd's store in $STORE_FOLDER"
        judge fail 'import does not know it: set "features": {"containerd-snapshotter": false} in daemon.json'
    elif [[ $driver == vfs* ]]; then
        judge warn 'vfs copies every layer whole: use overlay, or have several times the room'
    fi
}

check_space() {
    local needed available
    WANTED='room for the image'
    has_engine || return 0
    available=$(free_bytes "$STORE_FOLDER") || available=0
    FOUND="$(megabytes "$available") free in $STORE_FOLDER"
    if ((!${#LAYER_BYTES[@]})); then
        judge warn 'name the release folder, so that the size is known'
        return
    fi
    needed=$(import_bytes "$FIRST")
    WANTED="$(megabytes "$needed"), for the archive unpacked and the image"
    ((available >= needed)) || judge fail "make room, or move the store of $ENGINE to a larger disk"
}

check_base() {
    WANTED='what a delta builds on' FOUND='not a delta'
    ((FIRST)) || return 0
    WANTED="an image with the layers of version $BASE"
    has_engine || return 0
    FOUND=there
    has_base || { FOUND=none; judge fail "import the release of version $BASE first, or take the full release"; }
}

# --- the port: is anyone listening? The kernel lists sockets in hexadecimal; 0A is LISTEN.
check_port() {
    local hex
    printf -v hex ':%04X' "$port"
    WANTED="port $port free" FOUND=free
    grep -qE "^ *[0-9]+: [0-9A-F]+$hex [0-9A-F:]+ 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null || return 0
    FOUND="port $port is in use"
    if ((upgrade)); then
        FOUND+=', by the running version if all is well'
    else
        judge fail 'stop what listens there, or choose another port (--port)'
    fi
}

check_clock() {
    local now synchronised
    now=$(date +%s)
    synchronised=$(timedatectl show --property=NTPSynchronized --value 2>/dev/null) || synchronised=unknown
    WANTED='a synchronised clock' FOUND="$(utc "$now"), synchronised: ${synchronised:-unknown}"
    ((!EXPORTED)) || WANTED+=", after $(utc "$EXPORTED"), when the release was made"
    if ((now < EXPORTED)); then
        judge fail 'set the clock'
    elif [[ $synchronised != yes ]]; then
        judge warn 'let chrony or systemd-timesyncd follow a time server of your network'
    fi
}
utc() { date -u -d "@$1" '+%F %T UTC'; }

# --- certificate, key, token: there, for nobody else to read, and in date
check_certificate() {
    local seconds=$((CERTIFICATE_DAYS * 86400))
    WANTED="a PEM certificate, valid for $CERTIFICATE_DAYS days at least" FOUND=$tls_certificate
    if [[ ! -r $tls_certificate ]]; then
        FOUND+=' cannot be read'
        judge warn 'without one, speech goes over the network in clear: name it (--tls-certificate)'
    elif ! command -v openssl >/dev/null; then
        judge warn 'there is no openssl here to judge it: see for yourself that it has not run out'
    elif ! openssl x509 -noout -in "$tls_certificate" 2>/dev/null; then
        FOUND+=' is no certificate' && judge fail 'put the right file there'
    elif ! openssl x509 -noout -checkend 0 -in "$tls_certificate" >/dev/null; then
        FOUND+=" ran out: $(expiry)" && judge fail 'renew it'
    elif ! openssl x509 -noout -checkend "$seconds" -in "$tls_certificate" >/dev/null; then
        FOUND+=" runs out: $(expiry)" && judge warn 'renew it soon'
    fi
}
expiry() { openssl x509 -noout -enddate -in "$tls_certificate" | cut -d = -f 2; }

check_key() {
    WANTED="the private key of the certificate, of the image's user alone" FOUND=$tls_key
    if [[ ! -e $tls_key && ! -e $tls_certificate ]]; then
        FOUND+=' is not there, and no certificate' && judge warn 'see the check named certificate'
        return
    fi
    judge_secret "$tls_key" 'name it (--tls-key)'
    if [[ $STATE != pass || ! -r $tls_certificate ]] || ! command -v openssl >/dev/null; then return; fi
    [[ $(openssl x509 -noout -pubkey -in "$tls_certificate" 2>&1) == "$(openssl pkey -pubout -in "$tls_key" -passin pass: 2>/dev/null)" ]] ||
        { FOUND+=' is of another certificate'; judge fail "put the key of $tls_certificate there"; }
}
check_token() {
    WANTED="the access token, of the image's user alone" FOUND=$token_file
    judge_secret "$token_file" \
        "make one: (umask 377; head -c 32 /dev/urandom | base64 >$token_file) && chown $IMAGE_USER $token_file"
}
judge_secret() {
    local file=$1 advice=$2 mode owner
    if [[ ! -s $file ]]; then
        FOUND+=' is missing or empty' && judge fail "$advice"
        return
    fi
    read -r mode owner < <(stat --dereference --format '%a %u' "$file")
    FOUND+=", mode $mode, of user $owner"
    if ((8#$mode & 8#077)); then
        judge fail "chmod 400 $file"
    elif ((!EUID && owner != IMAGE_USER)); then # without root the engine gives the user another number
        judge fail "chown $IMAGE_USER $file: the appliance could not read it"
    fi
}

# --- the card, as nvidia-smi tells: sets CARD, DRIVER, CAPABILITY, TOTAL_MIB, FREE_MIB of the first one
ask_card() {
    local line code=0
    line=$(timeout 10 nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,memory.free \
        --format=csv,noheader,nounits 2>/dev/null | head -n 1) || code=$?
    if ((code == 0)) && [[ $line == *,*,*,*,* ]]; then
        IFS=, read -r CARD DRIVER CAPABILITY TOTAL_MIB FREE_MIB <<<"${line//, /,}"
        return
    elif ((code == 124)); then # of timeout
        FOUND='nvidia-smi does not answer'
        judge fail 'a card may be lost: look for Xid in dmesg, and restart the host'
        return 1
    fi
    FOUND='no card: nvidia-smi finds none'
    command -v nvidia-smi >/dev/null || FOUND='nvidia-smi is not on this host'
    judge fail 'install the NVIDIA driver, branch 580 or newer, and see that nvidia-smi lists the card'
    return 1
}
check_driver() {
    WANTED="NVIDIA driver $DRIVER_WANTED or newer, for CUDA 13.0"
    ask_card || return 0
    FOUND="driver $DRIVER for $CARD"
    at_least "$DRIVER" "$DRIVER_WANTED" || judge fail 'update the NVIDIA driver and restart the host'
}
check_capability() {
    WANTED="compute capability $CAPABILITY_LEAST to $CAPABILITY_MOST"
    ask_card || return 0
    FOUND="compute capability $CAPABILITY: $CARD"
    if ! at_least "$CAPABILITY" "$CAPABILITY_LEAST"; then
        judge fail 'this card has no bfloat16: use an A10, an L4 or a newer one'
    elif ! at_least "$CAPABILITY_MOST" "$CAPABILITY"; then
        judge warn 'this card is newer than the PyTorch inside; run the smoke test before you rely on it'
    fi
}
check_memory() {
    WANTED="$MEMORY_WANTED_MIB MiB, $MEMORY_LEAST_MIB at the least"
    ask_card || return 0
    FOUND="$TOTAL_MIB MiB on $CARD"
    if ((TOTAL_MIB < MEMORY_LEAST_MIB)); then
        judge fail 'use a larger card'
    elif ((TOTAL_MIB < MEMORY_WANTED_MIB)); then
        judge warn 'only quantised weights fit, for few callers: see docs/hardware.md'
    fi
}
check_memory_free() {
    WANTED="nine tenths of the card free, $MEMORY_LEAST_MIB MiB at the least"
    ask_card || return 0
    FOUND="$FREE_MIB of $TOTAL_MIB MiB free on $CARD"
    ((FREE_MIB * 10 < TOTAL_MIB * 9)) || return 0
    if ((upgrade)); then
        FOUND+=', the rest held by the running version if all is well'
    elif ((FREE_MIB < MEMORY_LEAST_MIB)); then
        judge fail 'end what else uses the card: nvidia-smi lists it'
    else
        judge warn 'end what else uses the card: nvidia-smi lists it'
    fi
}

# --- how the card gets into the container: a CDI file of this driver, or Docker's NVIDIA runtime
check_injection() {
    local folder file spec='' advice='nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'
    WANTED='a CDI file of the running driver, so that a container gets the card' FOUND='no CDI file for nvidia.com/gpu'
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
    ask_card || return 0
    grep -qF ".so.$DRIVER" "$spec" || { FOUND+=" is not of driver $DRIVER"; judge fail "$advice"; }
}
