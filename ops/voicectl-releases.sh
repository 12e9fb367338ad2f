# shellcheck shell=bash
# voicectl: the releases that are imported, and which step from one to another is allowed. Sourced
# by voicectl.
# shellcheck disable=SC2034,SC2153  # NEW is for activate; current and CURRENT are two things

verb_releases() {
    local json=0 current previous tag id mark when separator='' dot
    case ${1:-} in '') ;; --json) json=1 ;; *) fatal "unknown option $1; see voicectl releases --help" ;; esac
    current=$(id_of "$CURRENT") || current=none
    previous=$(id_of "$PREVIOUS") || previous=none
    ((!json)) || printf '['
    while read -r tag id; do
        mark='' dot=' '
        [[ $id != "$previous" ]] || mark=previous
        [[ $id != "$current" ]] || mark=current dot=$(colour '32;1' '●')
        when=$(activated_when "$id")
        if ((json)); then
            printf '%s\n  {"release": %s, "id": "%s", "slot": "%s", "activated": "%s"}' "$separator" \
                "$(json_string "$tag")" "$id" "$mark" "$when"
            separator=,
        else
            printf '%s %-20s %-8s  %s  %s\n' "$dot" "$tag" "$mark" "$(short "$id")" "$(minute "$when")" | sed 's/ *$//'
        fi
    done < <(imported)
    ((!json)) || printf '\n]\n'
    ((json)) || [[ $(imported) ]] || info 'none: import one (import --signers FILE)'
}
imported() {
    "$ENGINE" images --no-trunc --filter "reference=$REPOSITORY" --format '{{.Repository}}:{{.Tag}} {{.ID}}' |
        sed -n "s,^$REPOSITORY:,,p" | { grep -vE '^(current|previous) ' || true; } | sort -uV
}
activated_when() {
    [[ -r $RECORDS/activations.log ]] || return 0
    grep -E "^[^ ]+ +[^ ]+ +(done|returned) .*current=$1" "$RECORDS/activations.log" | tail -n 1 | cut -d ' ' -f 1 || true
}

minute() { [[ ! $1 ]] || date -d "$1" '+activated %F %H:%M'; }

# --- find_release VERSION|IMAGE: sets NEW (an image id)
find_release() {
    local wanted=$1 name profile there
    profile=$(profile_of "$CURRENT" 2>/dev/null) || profile=''
    if [[ ! $profile ]]; then
        (($(imported | grep -cE "^${wanted//./\\.}-[a-z]+ ") < 2)) || fatal "$wanted is there for several profiles: say which, as $wanted-cpu"
    fi
    for name in "$REPOSITORY:$wanted" "$REPOSITORY:$wanted-$profile" "$REPOSITORY:$wanted-cpu" "$REPOSITORY:$wanted-gpu" "$wanted"; do
        if NEW=$(id_of "$name"); then return; fi
    done
    there=$(imported | cut -d ' ' -f 1 | paste -sd ' ' -)
    fatal "no release $wanted is imported; there are: ${there:-none}. Import it first."
}

# --- step_refused ABOUT_OLD ABOUT_NEW: why the step from one release to another is not allowed; nothing when
#     it is.
step_refused() {
    local from to old_profile new_profile
    local -a old new
    IFS='|' read -r from old_profile _ <<<"$1"
    IFS='|' read -r to new_profile _ <<<"$2"
    if [[ $old_profile != "$new_profile" ]]; then
        echo "it is of profile $new_profile, and $old_profile is current"
    elif [[ $from != "$to" && $(printf '%s\n' "$from" "$to" | sort -V | tail -n 1) == "$from" ]]; then
        echo "it is older than $from, which is current: voicectl rollback goes back"
    else
        IFS=. read -ra old <<<"${from%%[-+]*}" && IFS=. read -ra new <<<"${to%%[-+]*}"
        if [[ ${old[0]:-0} != "${new[0]:-0}" ]]; then
            echo "it is another major version than $from, which is current: --force goes there all the same"
        elif ((10#${new[1]:-0} - 10#${old[1]:-0} > 1)); then
            echo "it skips minor versions after $from, which is current: activate ${old[0]}.$((10#${old[1]:-0} + 1)) first"
        fi
    fi
}
