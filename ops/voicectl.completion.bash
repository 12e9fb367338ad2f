# shellcheck shell=bash
# Completion of voicectl for bash: commands, options, units, releases. Copy it to
# /usr/share/bash-completion/completions/voicectl, or source it.

_voicectl_releases() { voicectl releases 2>/dev/null | sed -E 's/^[^0-9A-Za-z]*//; s/[[:space:]].*//'; }
_voicectl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' candidate words=''
    local commands='status logs trace releases start stop restart drain close open activate rollback preflight smoke-test prove-offline verify settings say tls trust audit token bundle help'
    for candidate in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ " $commands " == *" $candidate "* ]]; then command=$candidate && break; fi
    done
    case $before in
        --engine) words='podman docker' ;;
        --instance) words=$(printf '%s\n' /etc/voice-appliance/instances/*.env | sed -n 's,.*/\([0-9]*\)\.env$,\1,p') ;;
        -o | --output) words='short json cat' ;;
        -u | --unit) words='gateway llm tts exporter boot guard' ;;
        --out | --wav | --key)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            case $command in
                '') words="$commands --engine --instance" ;;
                status) words='--json --plain' ;;
                logs) words='-f -u --since -n -o' ;;
                releases) words=--json ;;
                start | restart) words='gateway llm tts exporter --no-block' ;;
                stop) words='gateway llm tts exporter' ;;
                drain) words='--wait --undo' ;;
                activate) words="--drain --force $(_voicectl_releases)" ;;
                prove-offline) words="--out --key --json $(_voicectl_releases)" ;;
                verify) words=--quick ;;
                settings) words=--check ;;
                say) words=--wav ;;
                tls) words='show init renew export client --name --new-ca --force' ;;
                trust) words=--out ;;
                audit)
                    if [[ $before == audit ]]; then
                        words='verify head'
                    else
                        words='--log --noted'
                        mapfile -t COMPREPLY < <(compgen -f -W "$words" -- "$word")
                        return
                    fi
                    ;;
                token)
                    case $before in
                        token) words='create list revoke' ;;
                        *) words='--expires --calls --attempts --minutes --json' ;;
                    esac
                    ;;
                bundle) words=--out ;;
                preflight) words='--upgrade --json --only --engine --signers --profile --port --card --tls-certificate --tls-key --token-file' ;;
                smoke-test) words='--kill --turns --interruptions --recordings --quick-seal --skip --limit --wait --json --out --key' ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _voicectl voicectl
