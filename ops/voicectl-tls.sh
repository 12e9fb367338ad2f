# shellcheck shell=bash
# voicectl: the certificates of this host. A container of the release makes them, without a network; only it
# sees the key of the CA. The serving container gets $ETC/tls. Sourced by voicectl.
# shellcheck disable=SC2034,SC2153  # in_new_container uses IMAGE and EXTRA_FLAGS; voicectl-host.sh sets ETC

readonly CA_FOLDER=$ETC/ca RENEWAL_DAYS=336 # of 397: renewal_due in appliance/tls/examine.py
readonly NO_SUCH_COMMAND=2                  # exit code of releases without `tls`
readonly OWN_CHAIN=/run/secrets/tls/chain.pem OWN_KEY=/run/secrets/tls/key.pem

command_tls() {
    local action=${1:-show} options=()
    (($# == 0)) || shift
    case $action in
        init | renew)
            for name in $(host_names); do options+=(--name "$name"); done
            # Names are added to those that the certificate has; only a new one takes those of the host.
            if [[ $action == renew ]]; then options=(); fi
            ;;
        show | export | client) ;;
        *) fatal "unknown action $action; see voicectl tls --help" ;;
    esac
    inspect
    choose_image
    [[ $action == show || $action == export ]] || make_tls_folders || fatal "$WHY"
    [[ -d $ETC/tls ]] || fatal "$ETC/tls is missing: run voicectl tls init"
    in_tls_container "$action" "${options[@]}" "$@" </dev/null
    if [[ $action == client ]]; then info "in $CA_FOLDER; give both files to the client, and set VOICE_GATEWAY_TLS_CLIENT_CA=/run/secrets/tls/client-ca.pem"; fi
}
command_trust() {
    inspect
    choose_image
    [[ -f $ETC/tls/ca.pem ]] || fatal "$ETC/tls/ca.pem is missing: run voicectl tls init"
    if [[ ${1:-} == --out ]]; then
        cp "$ETC/tls/ca.pem" "${2:?--out needs a file}"
        chmod 644 "$2"
        info "wrote $2"
    fi
    in_tls_container trust </dev/null
}

# --- ensure_tls [IMAGE]: before a start, make CA and certificate if there are none, or renew what is due. Fails, and
#     sets WHY, if there is no certificate and none can be made.
ensure_tls() {
    local code=0 options=() name IMAGE=${1:-$CURRENT}
    uses_own_files || return 0
    if [[ ! -e $ETC/tls/chain.pem && ! -e $ETC/tls/key.pem ]]; then
        make_tls_folders || return
        for name in $(host_names); do options+=(--name "$name"); done
        in_tls_container init --quiet "${options[@]}" </dev/null || code=$?
        ((code != 0)) || return 0
        if ((code == NO_SUCH_COMMAND)); then
            warn 'this release cannot make a certificate: its calls are not encrypted'
            return 0
        fi
        WHY="no certificate could be made (exit code $code): see voicectl tls init"
        return 1
    fi
    if [[ -f $CA_FOLDER/ca-key.pem && $(find "$ETC/tls/chain.pem" -mtime "+$RENEWAL_DAYS" 2>/dev/null) ]]; then
        in_tls_container renew --quiet </dev/null || warn "the certificate could not be renewed: see voicectl tls renew"
    fi
}
# Whether the appliance takes its certificate from the files that voicectl makes.
uses_own_files() {
    local plain
    plain=$(site_setting PLAIN_NETWORK)
    [[ ${plain,,} =~ ^(|false|no|off|0)$ ]] || return 1
    [[ $(site_setting TLS_CERTIFICATE) =~ ^(|$OWN_CHAIN)$ && $(site_setting TLS_KEY) =~ ^(|$OWN_KEY)$ ]]
}
# site_setting NAME: print the setting gateway.NAME of this host; of several lines, the last counts.
site_setting() { sed -n "s/^VOICE_GATEWAY_$1=//p" "$ETC/appliance.env" 2>/dev/null | tail -n 1 || true; }

make_tls_folders() {
    WHY="cannot create folders in $ETC: run this as root"
    # The group of the image's user may enter tls/; nobody but root may enter the CA's folder.
    if [[ ! -d $ETC/tls ]]; then
        mkdir -p "$ETC/tls" 2>/dev/null && chmod 0750 "$ETC/tls" || return
        chgrp "$IMAGE_USER" "$ETC/tls" 2>/dev/null || chmod 0755 "$ETC/tls" # a rootless engine
    fi
    (umask 077 && mkdir -p "$CA_FOLDER") 2>/dev/null
}
# in_tls_container ACTION...: run it as root without other rights than to write these two folders.
in_tls_container() {
    local EXTRA_FLAGS volumes=("--volume=$ETC/tls:/run/secrets/tls:rw,z")
    [[ ! -d $CA_FOLDER ]] || volumes+=("--volume=$CA_FOLDER:/run/secrets/tls-ca:rw,Z")
    EXTRA_FLAGS=(--user=0:0 --cap-add=CHOWN --cap-add=DAC_OVERRIDE --env=VOICE_JOURNAL_FORMAT=pretty "${volumes[@]}")
    in_new_container tls "$1" --owner "$IMAGE_USER" "${@:2}"
}

# --- host_names: print the names and addresses by which callers may reach this host, the full name first
host_names() {
    {
        hostname -f
        hostname
        hostname -I
    } 2>/dev/null | tr -s ' ' '\n' | grep -E '^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|[0-9a-fA-F:]+)$' |
        grep -vE '^(fe80:|localhost)' | awk '!seen[$0]++' || true
}
