# shellcheck shell=bash
# Signatures by ssh keys, as ops/export and ops/smoke-test make them. Source it after common.sh.
# Travels in every release; needs OpenSSH.

# --- ensure_key FILE COMMENT: makes a key, without a passphrase, where there is none, and says so
#     (returns 3)
MADE_KEY=3
ensure_key() {
    [[ ! -f $1 ]] || return 0
    mkdir -p "$(dirname "$1")" && ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1" || return 1
    return "$MADE_KEY"
}

# --- the public half, of a private key or of one that lies in an agent
public_key() {
    if [[ $1 == *.pub ]]; then cat "$1"; else cat "$1.pub" 2>/dev/null || ssh-keygen -y -f "$1"; fi
}

# --- signer KEY NAME NAMESPACE: the line of an allowed_signers file (ssh-keygen(1))
signer() { printf '%s namespaces="%s" %s\n' "$2" "$3" "$(public_key "$1")"; }

# --- sign_file KEY NAMESPACE FILE: writes FILE.sig
sign_file() { rm -f "$3.sig" && ssh-keygen -q -Y sign -f "$1" -n "$2" "$3"; }
