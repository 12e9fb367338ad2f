# shellcheck shell=bash
# Writes the documents of a release: SBOMs, licences, release.env, provenance, README. Sourced by ops/export.
# shellcheck disable=SC2153,SC2154  # ops/export sets the lower-case variables, common.sh VENV

# The files of ops/ that the air-gapped side needs.
RELEASE_SCRIPTS=(import preflight smoke-test common.sh release.sh checks.sh signing.sh
    voicectl voicectl-{activation,bundle,host,instances,logs,offline,releases,running,status,tls}.sh voicectl.completion.bash container.flags
    lexicon.example.tsv accepted-vulnerabilities.toml)

# --- find_sboms: those that ops/image kept, or syft to write them
find_sboms() {
    if ((!with_sbom)); then
        warn 'THIS RELEASE WILL HAVE NO SBOM (--without-sbom)'
    elif has_kept_sboms "$lock"; then
        SBOM_TITLE+=', of the build'
    else
        ensure_syft || fatal 'SYFT CANNOT BE INSTALLED, SO NO SBOM CAN BE WRITTEN. See above, or use --without-sbom.'
    fi
}
take_sboms() {
    ((with_sbom)) || return 0
    if has_kept_sboms "$lock"; then
        cp --no-preserve=all "$(kept_sboms "$lock")"/sbom.*.json "$PARTIAL/"
    else
        write_sboms "$TREE" "$PARTIAL"
    fi
}

# --- vulnerabilities: compare the packages of the SBOM with the folder of --advisories. Fails if one has a fix and
#     is not accepted. Without that folder, or without an SBOM, the report says that nothing was checked.
write_vulnerabilities() {
    local python=python3 options=()
    [[ ! -x $VENV/bin/python ]] || python=$VENV/bin/python
    ((!with_sbom)) || options+=(--sbom "$PARTIAL/sbom.cdx.json")
    [[ ! $advisories ]] || options+=(--advisories "$advisories")
    (cd "$ROOT" && "$python" -m appliance.advisories "${options[@]}" \
        --accepted "$ROOT/ops/accepted-vulnerabilities.toml" --into "$PARTIAL") || return 1
    mv "$PARTIAL/vulnerabilities.env" "$STATE/vulnerabilities.env" # becomes part of release.env
}
# Print the summary, as a warning if anything was not checked.
tell_vulnerabilities() {
    local summary
    summary=$(head -n 1 "$STATE/vulnerabilities.log")
    if [[ $summary == *'NOT CHECKED'* ]]; then warn "$summary"; else info "$summary"; fi
}

# --- licences: of Python and Debian packages from the image, of models from the lock. Packages without a
#     licence file are listed, too.
write_licences() {
    local folder=$PARTIAL/licences
    rm -rf "$folder" && python3 "$ROOT/ops/licences.py" "$TREE" "$folder" &&
        python3 "$ROOT/ops/lock_env.py" licences "$lock" "$PROFILE" >"$folder/models.txt"
}

# --- write_client: the client and the packages that it needs, to install without a network. They are collected
#     in the background, see begin_documents.
has_client() { ((with_client && !OMITTED_LAYERS)); }
collect_client() { "$ROOT/ops/client-folder" "$ROOT/.cache/client"; }
write_client() {
    has_client || return 0
    finish_document client 'client for users' ||
        fatal 'THE CLIENT AND ITS PACKAGES CANNOT BE COLLECTED. See above, or use --without-client.'
    rm -rf "$PARTIAL/client" && mkdir -p "$PARTIAL/client" &&
        cp --no-preserve=all -r "$ROOT"/.cache/client/{*.whl,wheels} "$PARTIAL/client/"
}

# --- the lock, the scripts, release.env for ops/import, and the provenance
write_documents() {
    local script
    cp --no-preserve=all "$lock" "$PARTIAL/image-manifest.lock" || return 1
    for script in "${RELEASE_SCRIPTS[@]}"; do cp "$ROOT/ops/$script" "$PARTIAL/$script" || return 1; done
    mkdir -p "$PARTIAL"/{units,monitoring,pool,docs} && cp "$ROOT/ops/units/$PROFILE"/* "$PARTIAL/units/" &&
        cp "$ROOT"/ops/pool/{render.py,scale.py,haproxy.cfg.in,waiting_room.lua,hosts.example.toml} "$PARTIAL/pool/" &&
        cp "$ROOT"/ops/monitoring/* "$PARTIAL/monitoring/" && cp "$ROOT"/{CHANGELOG,SECURITY}.md "$PARTIAL/" &&
        cp -rT --no-preserve=all "$ROOT/docs" "$PARTIAL/docs" || return 1
    cp -rLT --no-preserve=all "$ROOT/ops/helm" "$PARTIAL/helm" &&
        sed -i "s/^profile: cpu\$/profile: $PROFILE/" "$PARTIAL/helm/voice-appliance/values.yaml" || return 1
    # The list with which every start compares the code. A copy, so that the signature names its hash.
    [[ ! -f $TREE/opt/voice/code.list ]] || cp --no-preserve=all "$TREE/opt/voice/code.list" "$PARTIAL/code.list" || return 1
    write_release >"$PARTIAL/release.env" && write_provenance >"$PARTIAL/provenance.json" && write_readme >"$PARTIAL/README"
}
# Read by read_release of release.sh.
write_release() {
    local parts=("$PARTIAL"/image-*.part) part size=0 layer
    for part in "${parts[@]}"; do size=$((size + $(stat --format %s "$part"))); done
    cat <<ENV
SCHEMA=1
PROFILE=$PROFILE
VERSION=$VERSION
IMAGE_ID=$IMAGE_ID
EXPORTED_EPOCH_SECONDS=$(date +%s)
STREAM_BYTES=$size
STREAM_PARTS=${#parts[@]}
PART_BYTES=$PART_BYTES
BASE_LAYERS=$OMITTED_LAYERS
ENV
    ((!OMITTED_LAYERS)) || printf '%s\n' "BASE_ID=$BASE_ID" "BASE_VERSION=$BASE_VERSION"
    cat "$STATE/vulnerabilities.env"
    printf '%s\n' "LAYERS=${#DIFF_IDS[@]}"
    for layer in "${!DIFF_IDS[@]}"; do
        printf '%s\n' "LAYER_${layer}_DIFF_ID=${DIFF_IDS[layer]}" "LAYER_${layer}_BYTES=${LAYER_BYTES[layer]}"
    done
}
# An in-toto statement with SLSA's provenance predicate.
write_provenance() {
    local commit changed
    commit=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)
    changed=$(git -C "$ROOT" status --porcelain 2>/dev/null | grep -q . && echo true || echo false)
    cat <<JSON
{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [{"name": "$REPOSITORY:$VERSION-$PROFILE", "digest": {"sha256": "${IMAGE_ID#sha256:}"}}],
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
The voice appliance, version $VERSION, profile $PROFILE${since:+: a delta to version $BASE_VERSION, which must be imported already}.

Verify the release by hand before you run any of its files. FILE is the list of allowed signers. It must
not come with this folder, but through a separate channel:

  ssh-keygen -Y verify -n $NAMESPACE -I voice-appliance-release -f FILE -s $SIGNATURE <$SUMS
  sha256sum --check --quiet $SUMS

Then, on the host without a network:

  ./preflight              checks this host, and shows how to fix each problem
  ./import --signers FILE  verifies everything again and loads the image; activates nothing
  ./voicectl activate $VERSION  runs this version, or rolls back to the previous one; ./voicectl help

All steps: docs/operations.md. All pages by task: docs/README.md. Units for systemd, compose and Kubernetes: units/. A Helm
chart: helm/. For Prometheus and Grafana: monitoring/. For several hosts behind one address: pool/ and docs/pool.md.$([[ ! -d $PARTIAL/client ]] || printf '\n\n%s\n\n%s' \
        'The client for a user with Linux, in the folder client/, without a network:' \
        "  pipx install ./voice_client-*.whl --pip-args='--no-index --find-links wheels/'")

Image: $IMAGE_ID
$(head -n 1 "$STATE/vulnerabilities.log")
(vulnerabilities.md). All files of code in the image: code.list.
Models and their origin: image-manifest.lock. Licences: licences/. Packages:
$( ((with_sbom)) && echo 'sbom.cdx.json, sbom.spdx.json' || echo 'NO SBOM WAS WRITTEN'). Builder, commit and inputs of this release: provenance.json.
TEXT
}
