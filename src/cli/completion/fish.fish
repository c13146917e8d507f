# fish completion of kubectl-vaulttoken. In config.fish: kubectl-vaulttoken completion fish | source

function __kubectl_vaulttoken_complete
    set -l typed (commandline -cop) (commandline -ct)
    for line in (kubectl-vaulttoken __complete $typed[2..-1] 2>/dev/null)
        switch $line
            case ':0'
                # What stands before a path is a part of the same word.
                set -l flag (string match -r -- '^--[^=]*=' $typed[-1])
                for path in (__fish_complete_path (string replace -- "$flag" '' $typed[-1]))
                    echo "$flag$path"
                end
            case ':*'
            case '*'
                echo $line
        end
    end
end

complete -c kubectl-vaulttoken -f -a '(__kubectl_vaulttoken_complete)'
