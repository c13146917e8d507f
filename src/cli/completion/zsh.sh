#compdef kubectl-vaulttoken
# zsh completion of kubectl-vaulttoken. In ~/.zshrc, after compinit: source <(kubectl-vaulttoken completion zsh)

_kubectl_vaulttoken() {
    local line word directive=:4
    local -a found
    for line in "${(@f)$(kubectl-vaulttoken __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ "$line" == :* ]]; then
            directive="$line"
            continue
        fi
        word="${line%%$'\t'*}"
        if [[ "$line" == *$'\t'* ]]; then
            found+=("${word//:/\\:}:${line#*$'\t'}")
        else
            found+=("${word//:/\\:}")
        fi
    done
    if [[ "$directive" == :0 ]]; then
        compset -P '--*='
        _files
    else
        _describe -t words word found
    fi
}

compdef _kubectl_vaulttoken kubectl-vaulttoken
