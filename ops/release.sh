# shellcheck shell=bash
# What ops/export, ops/import and ops/preflight share: reading JSON, hashing, asking the engine.
# Source it after common.sh. Travels in every release, so it needs no more than bash, coreutils, find,
# grep, sed, tar, zstd, OpenSSH, and podman or docker; openssl, where it is, hashes several times as
# fast.

# shellcheck disable=SC2034  # used by the scripts that source this
NAMESPACE=voice-appliance SUMS=SHA256SUMS SIGNATURE=SHA256SUMS.sig
readonly MB=1000000

# --- read_json ARRAY FILE: into an associative array, a path like image/cpu/id to its value. Bash
#     alone, as jq is not on a bare host. Escapes in strings stay as they are.
read_json() {
    local -n into=$1
    local file=$2 line token depth=0 is_key=0 path
    local -a kinds=() keys=()
    local next='^[[:space:]]*("([^"\\]|\\.)*"|[][{},:]|[^][{},:"[:space:]]+)(.*)$'
    while IFS= read -r line || [[ $line ]]; do
        while [[ $line =~ $next ]]; do
            token=${BASH_REMATCH[1]} line=${BASH_REMATCH[3]}
            case $token in
                '{') kinds[++depth]=$token keys[depth]='' is_key=1 ;;
                '[') kinds[++depth]=$token keys[depth]=0 is_key=0 ;;
                '}' | ']') ((depth-- > 0)) || fatal "$file is not JSON: $token closes nothing" ;;
                ,) if [[ ${kinds[depth]} == '{' ]]; then is_key=1; else ((++keys[depth])); fi ;;
                :) is_key=0 ;;
                *)
                    token=${token#\"} token=${token%\"}
                    if ((is_key)); then
                        keys[depth]=$token
                    else
                        printf -v path '/%s' "${keys[@]:1:depth}"
                        into[${path#/}]=$token
                    fi
                    ;;
            esac
        done
        [[ -z ${line//[[:space:]]/} ]] || fatal "$file is not JSON: ${line:0:60}"
    done <"$file"
    ((depth == 0)) || fatal "$file is not JSON: it ends too early"
}

# --- SHA-256 of stdin, and of files: these take names from stdin, each ended by a NUL, and print lines
#     of hash, two spaces, name. For large files on all cores, with a process for each, because a line
#     of one that prints several may get torn by the others.
HASHER=(sha256sum)
if command -v openssl >/dev/null; then HASHER=(openssl dgst -sha256 -r); fi
hash_stdin() { "${HASHER[@]}" | cut -c 1-64; }
hash_files() { xargs -0 -r "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }
hash_large_files() { xargs -0 -r -n 1 -P "$(nproc)" "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }

megabytes() { printf "%'d MB" $((($1 + MB - 1) / MB)); }
free_bytes() { df --output=avail --block-size=1 "$1" | tail -n 1; }

# --- find_engine [podman|docker]: sets ENGINE
find_engine() {
    local candidate
    for candidate in ${1:-podman docker}; do
        if command -v "$candidate" >/dev/null; then
            ENGINE=$candidate
            return
        fi
    done
    return 1
}
engine_root() {
    case $ENGINE in
        podman) podman info --format '{{.Store.GraphRoot}}' ;;
        docker) docker info --format '{{.DockerRootDir}}' ;;
    esac 2>/dev/null
}
# Docker's newer store knows an image by another id than the one that was built.
is_containerd_store() { [[ $ENGINE == docker && $(docker info --format '{{.DriverStatus}}' 2>/dev/null) == *io.containerd.snapshotter* ]]; }
image_layers() { "$ENGINE" image inspect --format '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" 2>/dev/null | sed '/^$/d'; }
image_id() {
    local id
    id=$("$ENGINE" image inspect --format '{{.Id}}' "$1" 2>/dev/null) || return
    printf 'sha256:%s\n' "${id#sha256:}"
}

# --- what a lock says of its image: sets IMAGE_ID, VERSION and PROFILE, and DIFF_IDS and LAYER_BYTES,
#     lowest layer first
read_image_entry() {
    local lock=$1 layer=0
    local -A entries=()
    [[ -r $lock ]] || fatal "$lock cannot be read"
    read_json entries "$lock"
    IMAGE_ID=${entries[image/id]:-} VERSION=${entries[image/version]:-} PROFILE=${entries[image/profile]:-}
    DIFF_IDS=() LAYER_BYTES=()
    [[ $IMAGE_ID =~ ^sha256:[0-9a-f]{64}$ && $VERSION && $PROFILE ]] || fatal "$lock names no image"
    while [[ ${entries[image/layers/$layer/diff_id]:-} ]]; do
        DIFF_IDS+=("${entries[image/layers/$layer/diff_id]}")
        LAYER_BYTES+=("${entries[image/layers/$layer/size_bytes]}")
        ((++layer))
    done
    ((layer)) || fatal "$lock names no layers of image $IMAGE_ID"
}

# --- is there an image whose lowest layers are the FIRST ones of DIFF_IDS?
has_base() {
    local wanted="${DIFF_IDS[*]:0:FIRST}" layers
    while IFS= read -r layers; do
        [[ $layers != "$wanted "* ]] || return 0
    done < <("$ENGINE" images --all --quiet --no-trunc | sort -u |
        xargs -r "$ENGINE" image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' 2>/dev/null)
    return 1
}

# --- bytes the engine needs in its data root to take in layers FIRST and above: it unpacks the tar,
#     and podman copies the layers out of it once more, before the image itself is there
import_bytes() {
    local first=$1 sum=0 size
    for size in "${LAYER_BYTES[@]:first}"; do ((sum += size)); done
    if [[ $ENGINE == podman ]]; then echo $((3 * sum)); else echo $((2 * sum)); fi
}
