#!/usr/bin/env bash
# buildah 1.28.2 (Debian 12): RUN --mount=type=secret,target=FILE deletes FILE from the image, if the image had it. The
# mount hides the file during the step, as expected; afterwards buildah removes the mount's target, although it did not
# create it. Somebody who mounts a CA bundle over that of the image for one `pip install` builds an image
# without CA bundle, and without a word: the build succeeds. Known as containers/buildah#4739 and mended by #4755 in
# 2023, but not in Debian 12. Mount secrets at a path of their own, such as /run/secrets/ID.
#
# Seen with buildah 1.28.2 of Debian 12 (amd64), 2026-11-29:
#   during RUN: of the site
#   target /etc/ca.pem: the image has no /etc/ca.pem
#   target /run/secrets/ca: the image has /etc/ca.pem: of the image
#
# Needs root, because building an image does.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download 'buildah=1.28.2*' golang-github-containers-common libgpgme11 \
    libassuan0 libgpg-error0 libdevmapper1.02.1 libseccomp2 libselinux1 libudev1 busybox-static
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu
export CONTAINERS_STORAGE_CONF=$folder/storage.conf CONTAINERS_REGISTRIES_CONF=/dev/null CONTAINERS_CONF=/dev/null
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$folder/images" "$folder/run" >storage.conf
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >policy.json
mkdir context
cp bin/busybox context/sh
echo 'of the image' >context/ca.pem
echo 'of the site' >site.pem

# --- build TARGET: print what RUN sees there, and what the image has at /etc/ca.pem
build() {
    printf '%s\n' 'FROM scratch' 'COPY sh /bin/sh' 'COPY ca.pem /etc/ca.pem' \
        "RUN --mount=type=secret,id=ca,target=$1 read -r line <$1; echo \"during RUN: \$line\"" >context/Dockerfile
    usr/bin/buildah --log-level error build --signature-policy policy.json --isolation chroot --format oci \
        --secret id=ca,src=site.pem --tag image context >log 2>&1 || { cat log; return 1; }
    grep '^during RUN' log
    container=$(usr/bin/buildah --log-level error from --signature-policy policy.json image)
    root=$(usr/bin/buildah --log-level error mount "$container")
    if [[ -e $root/etc/ca.pem ]]; then
        found="has /etc/ca.pem: $(<"$root/etc/ca.pem")"
    else
        found='has no /etc/ca.pem'
    fi
    usr/bin/buildah --log-level error rm "$container" >/dev/null
    echo "target $1: the image $found"
}

build /etc/ca.pem
[[ $found == 'has no /etc/ca.pem' ]] || { echo 'The file is no longer deleted.'; exit 1; }
build /run/secrets/ca
[[ $found == 'has /etc/ca.pem: of the image' ]]
