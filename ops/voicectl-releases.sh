# shellcheck shell=bash
# voicectl: lists the imported releases, and decides which upgrade paths are allowed. Sourced by voicectl.
# shellcheck disable=SC2034,SC2153  # NEW is for activate; current and CURRENT are different

command_releases() {
    local json=0 current previous tag id slot when separator='' dot
    case ${1:-} in '') ;; --json) json=1 ;; *) fatal "unknown option $1; see voicectl releases --help" ;; esac
    current=$(image_id "$CURRENT") || current=none
    previous=$(image_id "$PREVIOUS") || previous=none
    ((!json)) || printf '['
    while read -r tag id; do
        slot='' dot=' '
        [[ $id != "$previous" ]] || slot=previous
        [[ $id != "$current" ]] || slot=current dot=$(colour '32;1' '●')
        when=$(activated_when "$id")
        if ((json)); then
            printf '%s\n  {"release": %s, "id": "%s", "slot": "%s", "activated": "%s"}' "$separator" \
                "$(json_string "$tag")" "$id" "$slot" "$when"
            separator=,
        else
            printf '%s %-20s %-8s  %s  %s\n' "$dot" "$tag" "$slot" "$(short_id "$id")" "$(activated_at "$when")" | sed 's/ *$//'
        fi
    done < <(imported)
    ((!json)) || printf '\n]\n'
    ((json)) || [[ $(imported) ]] || info 'none: import one (import --signers FILE)'
}
imported() {
    "$ENGINE" images --no-trunc --filter "reference=$REPOSITORY" --format '{{.Repository}}:{{.Tag}} {{.ID}}' |
        sed -n "s,^$REPOSITORY:,,p" | { grep -vE "^$POINTERS " || true; } | sort -uV
}
activated_when() {
    [[ -r $RECORDS/activations.log ]] || return 0
    grep -E "^[^ ]+ +[^ ]+ +(done|returned) .*current=$1" "$RECORDS/activations.log" | tail -n 1 | cut -d ' ' -f 1 || true
}
activated_at() { [[ ! $1 ]] || date -d "$1" '+activated %F %H:%M'; }

# --- find_release VERSION|IMAGE: set NEW (an image id)
find_release() {
    local wanted=$1 name profile known
    profile=$(profile_of "$CURRENT" 2>/dev/null) || profile=''
    if [[ ! $profile ]]; then
        (($(imported | grep -cE "^${wanted//./\\.}-[a-z]+ ") < 2)) || fatal "$wanted is imported for several profiles: add one, such as $wanted-cpu"
    fi
    for name in "$REPOSITORY:$wanted" "$REPOSITORY:$wanted-$profile" "$REPOSITORY:$wanted-cpu" "$REPOSITORY:$wanted-gpu" "$wanted"; do
        if NEW=$(image_id "$name"); then return; fi
    done
    known=$(imported | cut -d ' ' -f 1 | paste -sd ' ' -)
    fatal "release $wanted is not imported; imported are: ${known:-none}"
}

# --- check_upgrade_path OLD NEW: print why the upgrade between two described images is not allowed; print
#     nothing if it is allowed
check_upgrade_path() {
    local from to old_profile new_profile
    local -a old new
    IFS='|' read -r from old_profile _ <<<"$1"
    IFS='|' read -r to new_profile _ <<<"$2"
    if [[ $old_profile != "$new_profile" ]]; then
        echo "its profile is $new_profile, and that of the current release is $old_profile"
    elif [[ $from != "$to" && $(printf '%s\n' "$from" "$to" | sort -V | tail -n 1) == "$from" ]]; then
        echo "it is older than $from, which is current: use voicectl rollback"
    else
        IFS=. read -ra old <<<"${from%%[-+]*}" && IFS=. read -ra new <<<"${to%%[-+]*}"
        if [[ ${old[0]:-0} != "${new[0]:-0}" ]]; then
            echo "its major version differs from that of $from, which is current: use --force"
        elif [[ ${new[1]:-0} =~ ^[0-9]+$ && ${old[1]:-0} =~ ^[0-9]+$ ]] &&
            ((10#${new[1]:-0} - 10#${old[1]:-0} > 1)); then
            echo "it skips minor versions after $from, which is current: activate ${old[0]}.$((10#${old[1]:-0} + 1)) first"
        fi
    fi
}
