"""`sipguard completion`: what a shell has to read so that it completes."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_SIPGUARD_COMPLETE"
"""The environment variable by which the script asks; click's own protocol."""
_BASH = """\
# Completion of sipguard for bash. Written by: sipguard completion bash
_sipguard_completion() {
    # The words as they were typed: bash takes the colons of an IPv6 address for ends of words.
    local line=${COMP_LINE:0:COMP_POINT} words current prefix type value
    local IFS=$' \\t\\n'
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    prefix=
    [[ $COMP_WORDBREAKS == *:* ]] && prefix=${current%"${current##*:}"}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("${value#"$prefix"}") ;;
        esac
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) _SIPGUARD_COMPLETE=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F _sipguard_completion sipguard
"""


@click.command("completion")
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, jails and banned addresses.

    bash: into /etc/bash_completion.d/sipguard. zsh: into a file _sipguard of a folder of $fpath. fish: into
    ~/.config/fish/completions/sipguard.fish.
    """
    if shell == "bash":
        click.echo(_BASH, nl=False)
        return
    found = get_completion_class(shell)
    assert found is not None, shell  # noqa: S101 - click has them
    click.echo(found(context.find_root().command, {}, "sipguard", VARIABLE).source())
