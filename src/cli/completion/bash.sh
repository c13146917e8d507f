# bash completion of kubectl-vaulttoken. In ~/.bashrc: source <(kubectl-vaulttoken completion bash)

_kubectl_vaulttoken() {
    local line="${COMP_LINE:0:COMP_POINT}" current="${COMP_WORDS[COMP_CWORD]}" directive=:4 found typed
    local -a words
    # Bash itself takes words apart at `=` and `:`.
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    typed="${words[${#words[@]} - 1]}"
    [[ "$current" == [=:]* ]] && current="${current:1}"
    COMPREPLY=()
    while IFS= read -r found; do
        case "$found" in
            :*) directive="$found" ;;
            *)
                found="${found%%$'\t'*}"
                COMPREPLY+=("${found#"${typed%"$current"}"}")
                ;;
        esac
    done < <(kubectl-vaulttoken __complete "${words[@]:1}" 2>/dev/null)
    if [[ "$directive" == :0 ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r found; do
            COMPREPLY+=("$found")
        done < <(compgen -f -- "$current")
    fi
}

complete -F _kubectl_vaulttoken kubectl-vaulttoken
