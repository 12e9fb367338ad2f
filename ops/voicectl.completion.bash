# shellcheck shell=bash
# Completion of voicectl for bash: commands, options, units, releases. Copy it to
# /usr/share/bash-completion/completions/voicectl, or source it.

_voicectl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' candidate words=''
    local commands='status logs trace releases start stop restart drain activate rollback preflight smoke-test verify settings say bundle help'
    for candidate in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ " $commands " == *" $candidate "* ]]; then command=$candidate && break; fi
    done
    case $before in
        --engine) words='podman docker' ;;
        -o | --output) words='short json cat' ;;
        -u | --unit) words='gateway llm tts exporter boot guard' ;;
        --out | --wav)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            case $command in
                '') words="$commands --engine" ;;
                status) words='--json --plain' ;;
                logs) words='-f -u --since -n -o' ;;
                releases) words=--json ;;
                start | restart) words='gateway llm tts exporter --no-block' ;;
                stop) words='gateway llm tts exporter' ;;
                drain) words='--wait --undo' ;;
                activate) words="--drain --force $(voicectl releases 2>/dev/null | sed -E 's/^[^0-9A-Za-z]*//; s/[[:space:]].*//')" ;;
                verify) words=--quick ;;
                settings) words=--check ;;
                say) words=--wav ;;
                bundle) words=--out ;;
                preflight) words='--upgrade --json --only --engine --profile --port' ;;
                smoke-test) words='--kill --turns --interruptions --recordings --quick-seal --skip --limit --wait --json --out --key' ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _voicectl voicectl
