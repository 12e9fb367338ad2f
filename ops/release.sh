# shellcheck shell=bash
# Shared by ops/export, ops/import, ops/preflight and ops/voicectl: reading release.env, hashing, querying
# the container engine. Source it after common.sh. It is part of every release, so it needs only bash,
# coreutils, find, grep, sed, tar, zstd, OpenSSH, and podman or docker. If openssl is installed, it is
# used for hashing, because it is several times as fast as sha256sum.

# shellcheck disable=SC2034,SC2153  # the scripts that source this file use the variables
NAMESPACE=voice-appliance SUMS=SHA256SUMS SIGNATURE=SHA256SUMS.sig
readonly REPOSITORY=localhost/voice-appliance MB=1000000

# --- read_env ARRAY FILE: read lines of NAME=VALUE into an associative array. Nothing is evaluated: a
#     line that does not match `pattern` is an error.
read_env() {
    local -n values=$1
    local file=$2 line name number=0 LC_ALL=C
    local pattern='^([A-Z][A-Z0-9_]*)=([A-Za-z0-9._:/+-]*)$'
    [[ -r $file ]] || fatal "$file cannot be read"
    while IFS= read -r line || [[ $line ]]; do
        ((++number))
        [[ $line =~ $pattern ]] || fatal "$file, line $number: not NAME=VALUE"
        name=${BASH_REMATCH[1]}
        [[ ! ${values[$name]+set} ]] || fatal "$file, line $number: $name is set twice"
        values["$name"]=${BASH_REMATCH[2]}
    done <"$file"
}

# --- take VARIABLE NAME PATTERN: set VARIABLE to entries[NAME], which must match PATTERN as a whole. The
#     caller sets `entries` and FILE.
readonly NUMBER_PATTERN='0|[1-9][0-9]{0,15}' COUNT_PATTERN='[1-9][0-9]{0,2}'
readonly SHA256_PATTERN='[0-9a-f]{64}' WORD_PATTERN='[A-Za-z0-9][A-Za-z0-9._+-]*'
take() {
    local LC_ALL=C
    [[ ${entries[$2]:-} =~ ^($3)$ ]] || fatal "$FILE: $2 is missing or not valid: ${entries[$2]:-}"
    printf -v "$1" %s "${entries[$2]}"
}

# --- read_release FILE: read a release.env. Sets the variables of take_image, EXPORTED (epoch seconds),
#     STREAM_SHA256, STREAM_BYTES, PART_COUNT, PART_BYTES and TAG; OMITTED_LAYERS (their number; 0 unless the
#     release is a delta); and for a delta BASE_ID and BASE_VERSION.
read_release() {
    local -A entries=()
    local FILE=$1
    read_env entries "$FILE"
    [[ ${entries[SCHEMA]:-} == 1 ]] || fatal "$FILE has a different schema version: use the scripts in the same folder"
    take_image
    take EXPORTED EXPORTED_EPOCH_SECONDS "$NUMBER_PATTERN"
    take STREAM_SHA256 STREAM_SHA256 "$SHA256_PATTERN"
    take STREAM_BYTES STREAM_BYTES "$NUMBER_PATTERN"
    take PART_COUNT STREAM_PARTS "$COUNT_PATTERN"
    take PART_BYTES PART_BYTES "$NUMBER_PATTERN"
    take OMITTED_LAYERS BASE_LAYERS "$NUMBER_PATTERN"
    BASE_ID='' BASE_VERSION='' TAG=$REPOSITORY:$VERSION-$PROFILE
    ((OMITTED_LAYERS)) || return 0
    ((OMITTED_LAYERS < ${#DIFF_IDS[@]})) || fatal "$FILE: BASE_LAYERS is not below LAYERS"
    take BASE_ID BASE_ID "sha256:$SHA256_PATTERN"
    take BASE_VERSION BASE_VERSION "$WORD_PATTERN"
}
# --- take_image: set IMAGE_ID, VERSION, PROFILE, and DIFF_IDS and LAYER_BYTES, lowest layer first
take_image() {
    local layers layer diff_id size
    take PROFILE PROFILE 'cpu|gpu'
    take VERSION VERSION "$WORD_PATTERN"
    take IMAGE_ID IMAGE_ID "sha256:$SHA256_PATTERN"
    take layers LAYERS "$COUNT_PATTERN"
    DIFF_IDS=() LAYER_BYTES=()
    for ((layer = 0; layer < layers; layer++)); do
        take diff_id "LAYER_${layer}_DIFF_ID" "sha256:$SHA256_PATTERN"
        take size "LAYER_${layer}_BYTES" "$NUMBER_PATTERN"
        DIFF_IDS+=("$diff_id") LAYER_BYTES+=("$size")
    done
}

# --- SHA-256 of stdin, and of files. hash_files and hash_large_files read NUL-terminated names from stdin,
#     and print lines of hash, two spaces, name. hash_large_files uses all cores, with one process per file:
#     lines that one process prints could be interleaved with those of another.
HASHER=(sha256sum)
if command -v openssl >/dev/null; then HASHER=(openssl dgst -sha256 -r); fi
hash_stdin() { "${HASHER[@]}" | cut -c 1-64; }
hash_files() { xargs -0 -r "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }
hash_large_files() { xargs -0 -r -n 1 -P "$(nproc)" "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }

megabytes() { printf "%'d MB" $((($1 + MB - 1) / MB)); }
free_bytes() { df --output=avail --block-size=1 "$1" | tail -n 1; }

# --- json_string TEXT: print TEXT as a JSON string
json_string() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"} text=${text//$'\n'/ }
    printf '"%s"' "${text//[$'\t\r\e']/ }"
}

# --- find_engine [podman|docker]: set ENGINE; fails if none is installed
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
# Docker's containerd store changes the id that an image was built with.
is_containerd_store() { [[ $ENGINE == docker && $(docker info --format '{{.DriverStatus}}' 2>/dev/null) == *io.containerd.snapshotter* ]]; }
image_layers() { "$ENGINE" image inspect --format '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" 2>/dev/null | sed '/^$/d'; }
image_id() {
    local id
    id=$("$ENGINE" image inspect --format '{{.Id}}' "$1" 2>/dev/null) || return
    printf 'sha256:%s\n' "${id#sha256:}"
}

# --- has_base: succeed if an image has the first OMITTED_LAYERS entries of DIFF_IDS as its lowest layers
has_base() {
    local base_layers="${DIFF_IDS[*]:0:OMITTED_LAYERS}" layers
    while IFS= read -r layers; do
        [[ $layers != "$base_layers "* ]] || return 0
    done < <("$ENGINE" images --all --quiet --no-trunc | sort -u |
        xargs -r "$ENGINE" image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' 2>/dev/null)
    return 1
}

# --- import_bytes N: print the free bytes that the engine needs in its data root to load layer N and
#     those above it. The engine unpacks the archive and then creates the image; podman copies the layers
#     once more.
import_bytes() {
    local first=$1 sum=0 size
    for size in "${LAYER_BYTES[@]:first}"; do ((sum += size)); done
    if [[ $ENGINE == podman ]]; then echo $((3 * sum)); else echo $((2 * sum)); fi
}
