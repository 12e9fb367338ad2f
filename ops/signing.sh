# shellcheck shell=bash
# Signs files with ssh keys, for ops/export and ops/smoke-test. Source it after common.sh. It is part of
# every release and needs OpenSSH.

# --- ensure_key FILE COMMENT: create a key without a passphrase if there is none; return 3 if one was created
MADE_KEY=3
ensure_key() {
    [[ ! -f $1 ]] || return 0
    mkdir -p "$(dirname "$1")" && ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1" || return 1
    return "$MADE_KEY"
}

# --- public_key FILE: print the public key that belongs to FILE: a private key, or the .pub of a key in an agent
public_key() {
    if [[ $1 == *.pub ]]; then cat "$1"; else cat "$1.pub" 2>/dev/null || ssh-keygen -y -f "$1"; fi
}

# --- signer KEY NAME NAMESPACE: print a line for an allowed_signers file, see ssh-keygen(1)
signer() { printf '%s namespaces="%s" %s\n' "$2" "$3" "$(public_key "$1")"; }

# --- sign_file KEY NAMESPACE FILE: write FILE.sig
sign_file() { rm -f "$3.sig" && ssh-keygen -q -Y sign -f "$1" -n "$2" "$3"; }
