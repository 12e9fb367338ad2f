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
#     STREAM_BYTES, PART_COUNT, PART_BYTES and TAG; OMITTED_LAYERS (their number; 0 unless the release is a
#     delta); for a delta BASE_ID and BASE_VERSION; and VULNERABILITIES, one line about them.
read_release() {
    local -A entries=()
    local FILE=$1
    read_env entries "$FILE"
    [[ ${entries[SCHEMA]:-} == 1 ]] || fatal "$FILE has a different schema version: use the scripts in the same folder"
    take_image
    take EXPORTED EXPORTED_EPOCH_SECONDS "$NUMBER_PATTERN"
    take STREAM_BYTES STREAM_BYTES "$NUMBER_PATTERN"
    take PART_COUNT STREAM_PARTS "$COUNT_PATTERN"
    take PART_BYTES PART_BYTES "$NUMBER_PATTERN"
    take OMITTED_LAYERS BASE_LAYERS "$NUMBER_PATTERN"
    take_vulnerabilities
    BASE_ID='' BASE_VERSION='' TAG=$REPOSITORY:$VERSION-$PROFILE
    ((OMITTED_LAYERS)) || return 0
    ((OMITTED_LAYERS < ${#DIFF_IDS[@]})) || fatal "$FILE: BASE_LAYERS is not below LAYERS"
    take BASE_ID BASE_ID "sha256:$SHA256_PATTERN"
    take BASE_VERSION BASE_VERSION "$WORD_PATTERN"
}
take_vulnerabilities() {
    local state newest count counts='' name
    local -A names=([FIXABLE]='to fix' [EXPIRED]='with an expired acceptance' [UNFIXED]='without a fix' [ACCEPTED]=accepted)
    VULNERABILITIES='known vulnerabilities: NOT CHECKED'
    [[ ${entries[ADVISORIES]:-} ]] || return 0 # a release of an earlier version
    take state ADVISORIES 'checked|partly-checked|not-checked'
    [[ $state != not-checked ]] || return 0
    take newest ADVISORIES_NEWEST '[0-9]{4}-[0-9]{2}-[0-9]{2}'
    for name in FIXABLE EXPIRED UNFIXED ACCEPTED; do
        take count "ADVISORIES_$name" "$NUMBER_PATTERN"
        counts+="${counts:+, }$count ${names[$name]}"
    done
    VULNERABILITIES="known vulnerabilities: $counts; advisories of $newest"
    [[ $state == checked ]] || VULNERABILITIES+='; SOME PACKAGES NOT CHECKED'
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

# --- missing_tools: print the programs that import needs and this host lacks, with the package of each
missing_tools() {
    local tool missing=()
    for tool in find:findutils xargs:findutils grep sed tar zstd ssh-keygen:openssh-client; do
        command -v "${tool%:*}" >/dev/null || missing+=("${tool%:*} (package ${tool#*:})")
    done
    printf '%s' "${missing[*]}"
}

# --- A release is verified, and used as it was verified: the medium may change while it is read. So the
#     small files are copied into the folder PRIVATE, which the caller creates and removes, and are read there.
#     verify_list SIGNERS [REVOKED]: verify the signature of the list in the working folder. REVOKED lists keys
#     that are revoked; without it, it is the file `revoked_signers` beside SIGNERS, if there
#     is one. Sets SIGNER, KEY and EXPECTED (checksum by name); if anything is wrong, fails and sets PROBLEM.
declare -A EXPECTED=()
verify_list() {
    local signers=$1 revoked=${2:-} list file line name
    for file in "$SUMS" "$SIGNATURE"; do
        PROBLEM="$file is missing: this folder is not a release, or was not copied completely."
        [[ -f $file ]] && cp "$file" "$PRIVATE/$file" 2>/dev/null || return 1
    done
    PROBLEM="$signers cannot be read: it lists who may sign a release (--signers)."
    [[ -r $signers ]] || return 1
    list=${signers%/*}/revoked_signers # a link to nowhere is a list that cannot be read
    [[ $revoked || ! (-e $list || -L $list) ]] || revoked=$list
    PROBLEM="$revoked cannot be read: it lists the revoked keys (--revoked)."
    [[ ! $revoked || -r $revoked ]] || return 1
    PROBLEM="$SUMS is not what was signed: it or $SIGNATURE was changed."
    KEY=$(signature check-novalidate) || return 1
    KEY=${KEY##* key }
    PROBLEM="wrong signer: $KEY signed this release, and $signers does not list it, or its time there has passed."
    SIGNER=$(signature find-principals -f "$signers") || return 1
    SIGNER=${SIGNER%%$'\n'*}
    PROBLEM="$signers does not allow $SIGNER ($KEY) to sign releases at this time."
    signature verify -f "$signers" -I "$SIGNER" >/dev/null || return 1
    PROBLEM="$revoked revokes the key $KEY, with which $SIGNER signed this release, or is not a list of keys."
    [[ ! $revoked ]] || signature verify -f "$signers" -I "$SIGNER" -r "$revoked" >/dev/null || return 1
    while IFS= read -r line; do
        name=${line:66}
        PROBLEM="$SUMS has a line that is not a checksum and a name: $line."
        [[ ${line:0:66} =~ ^[0-9a-f]{64}\ \ $ && $name && $name != /* && /$name/ != */../* ]] || return 1
        EXPECTED[$name]=${line:0:64}
    done <"$PRIVATE/$SUMS"
    PROBLEM=''
}
signature() { ssh-keygen -Y "$1" -n "$NAMESPACE" -s "$PRIVATE/$SIGNATURE" "${@:2}" <"$PRIVATE/$SUMS" 2>/dev/null; }
# --- take_verified NAME: copy a listed file to PRIVATE; fails if the copy is not what was signed
take_verified() {
    [[ -f $1 && ${EXPECTED[$1]:-} ]] && cp "$1" "$PRIVATE/$1" 2>/dev/null &&
        [[ $(hash_stdin <"$PRIVATE/$1") == "${EXPECTED[$1]}" ]]
}

# --- SHA-256 of stdin, and of files. hash_files and hash_large_files read NUL-terminated names from stdin,
#     and print lines of hash, two spaces, name. hash_large_files uses all cores, with one process per file:
#     lines that one process prints could be interleaved with those of another.
HASHER=(sha256sum)
if command -v openssl >/dev/null; then HASHER=(openssl dgst -sha256 -r); fi
hash_stdin() { "${HASHER[@]}" | cut -c 1-64; }
hash_files() { xargs -0 -r "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }
hash_large_files() { xargs -0 -r -n 1 -P "$(nproc)" "${HASHER[@]}" | sed -E 's/^([0-9a-f]{64}) [ *]/\1  /'; }

# --- is_number TEXT: whether it is a whole number from 0 on, written without leading zeros. Bash evaluates what
#     stands in an arithmetic expression, so every number from a file or a program is checked with this first.
is_number() {
    local LC_ALL=C
    [[ $1 =~ ^($NUMBER_PATTERN)$ ]]
}
# --- printable TEXT: print it with ? in place of control characters, which a terminal would obey. For names on a medium
#     before it is known who wrote it.
printable() { printf %s "${1//[[:cntrl:]]/?}"; }
megabytes() { printf "%'d MB" $((($1 + MB - 1) / MB)); }
free_bytes() {
    local bytes
    bytes=$(df --output=avail --block-size=1 "$1" | tail -n 1) || return 1
    bytes=${bytes//[[:space:]]/}
    is_number "$bytes" && echo "$bytes"
}

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
# Where the engine keeps images: for a containerd of its own, below Docker's folder.
engine_store() {
    local root
    root=$(engine_root) || return
    [[ ! -d /var/lib/containerd || -d $root/containerd/daemon ]] || ! is_containerd_store || root=/var/lib/containerd
    printf '%s\n' "$root"
}
# Docker's containerd store, the default of new installations since Docker 29.
is_containerd_store() { [[ $ENGINE == docker && $(docker info --format '{{.DriverStatus}}' 2>/dev/null) == *io.containerd.snapshotter* ]]; }
# A rootless engine: its images are those of one user, and the units do not see them.
is_rootless() {
    case $ENGINE in
        podman) [[ $(podman info --format '{{.Host.Security.Rootless}}' 2>/dev/null) == true ]] ;;
        docker) [[ $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *name=rootless* ]] ;;
    esac
}
image_layers() { "$ENGINE" image inspect --format '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" 2>/dev/null | sed '/^$/d'; }
image_id() {
    local id
    id=$("$ENGINE" image inspect --format '{{.Id}}' "$1" 2>/dev/null) || return
    printf 'sha256:%s\n' "${id#sha256:}"
}

# --- release_image: print the id by which the engine has the image of the release; fails if it has none. The
#     containerd store names an image by the hash of a manifest that Docker writes when it loads the image. So there an
#     image is that of the release if it has the same layers and the same config, whose hash is the release's IMAGE_ID.
release_image() {
    local id
    if ! is_containerd_store; then
        image_id "$IMAGE_ID"
        return
    fi
    while IFS= read -r id; do
        [[ $(image_layers "$id") == "$(printf '%s\n' "${DIFF_IDS[@]}")" && $(config_hash "$id") == "$IMAGE_ID" ]] || continue
        printf '%s\n' "$id"
        return
    done < <("$ENGINE" images --all --quiet --no-trunc | sort -u)
    return 1
}
# The hash of an image's config, which Docker prints only in an archive of the image: as the name of the file. After
# loading, import hashes that file, too.
config_hash() {
    "$ENGINE" save "$1" 2>/dev/null | tar --extract --to-stdout --file=- manifest.json |
        sed -nE 's|.*"Config": *"(blobs/sha256/)?([0-9a-f]{64})(\.json)?".*|sha256:\2|p'
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

# --- import_bytes N, temporary_bytes N: print the free bytes that an import needs to load layer N and those
#     above it: all of them in the engine's data root, and those of the temporary files. At first these are the
#     parts, which hardly compress, and for podman the archive; then podman copies each layer before it
#     unpacks it. Docker unpacks the archive in its data root.
import_bytes() { echo $((3 * $(layer_bytes "$1"))); }
temporary_bytes() {
    if [[ $ENGINE == podman ]]; then echo $((2 * $(layer_bytes "$1"))); else layer_bytes "$1"; fi
}
layer_bytes() {
    local first=$1 sum=0 size
    for size in "${LAYER_BYTES[@]:first}"; do ((sum += size)); done
    echo "$sum"
}
