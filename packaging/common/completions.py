"""Write the completions of pvprep's command line for a shell, bash or zsh, to stdout.

Made from the command line's parser and from what `pvprep explain` knows. Run with the agent on the
path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from pvprep import cli, explain

# Their argument is optional, and no word of its own: it follows a "=".
JOINED = ("--emit-config",)

BASH = """\
# bash completion for pvprep(8). Made by packaging/common/completions.py.

_pvprep()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    local verb= word joined=
    # The "=" of --option=value is a word of its own.
    if [[ $cur == "=" ]]; then
        cur= joined="="
    elif [[ $prev == "=" ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}} joined="="
    fi
    COMPREPLY=()
    case $prev$joined in
{arguments}
    esac
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        case $word in
            {verb_pattern}) verb=$word ;;
        esac
    done
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '{options}' -- "$cur"))
        [[ ${{COMPREPLY[*]}} != *= ]] || compopt -o nospace
    elif [[ $verb == explain ]]; then
        COMPREPLY=($(compgen -W '{ids}' -- "$cur"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W '{verbs}' -- "$cur"))
    fi
}}

complete -F _pvprep pvprep
"""

_BASH_FILES = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -{kind} -- "$cur"); return ;;'
_BASH_WORDS = "COMPREPLY=($(compgen -W '{words}' -- \"$cur\")); return ;;"

ZSH = """\
#compdef pvprep
# zsh completion for pvprep(8). Made by packaging/common/completions.py.

_pvprep_verbs()
{{
    local -a verbs=(
{verbs}
    )
    _describe verb verbs
}}

_pvprep_ids()
{{
    local -a ids=({ids})
    [[ ${{words[(I)explain]}} -eq 0 ]] || _describe ID ids
}}

_arguments -s -S \\
{options}
    '1:verb:_pvprep_verbs' \\
    '2:ID:_pvprep_ids'
"""


def options() -> list[argparse.Action]:
    """All options; argparse has no public way to them."""
    return [action for action in cli.parser()._actions if action.option_strings]


def verbs() -> dict[str, str]:
    """The verbs that people use."""
    return {verb: text for verb, text in cli.VERBS.items() if text != argparse.SUPPRESS}


def bash() -> str:
    """A completion that needs nothing but bash."""
    names = [name for action in options() for name in action.option_strings]
    names += [f"{name}=" for name in JOINED]
    return BASH.format(
        arguments="\n".join(f"        {line}" for line in _bash_arguments()),
        verb_pattern="|".join(cli.VERBS),
        verbs=" ".join(verbs()),
        ids=" ".join(explain.topics()),
        options=" ".join(names),
    )


def _bash_arguments() -> Iterator[str]:
    for action in options():
        if action.nargs == 0:
            continue
        name = action.option_strings[-1]
        pattern = f"{name}=" if name in JOINED else f"{name}|{name}="
        if action.choices:
            yield f"{pattern}) {_BASH_WORDS.format(words=' '.join(action.choices))}"
        elif kind := {"files": "f", "directories": "d"}.get(_argument(action)):
            yield f"{pattern}) {_BASH_FILES.format(kind=kind)}"
        else:
            yield f"{pattern}) return ;;"


def zsh() -> str:
    """A completion for zsh's own system."""
    return ZSH.format(
        verbs="\n".join(f"        {_quoted(f'{v}:{t}')}" for v, t in verbs().items()),
        ids=" ".join(explain.topics()),
        options="\n".join(f"    {_zsh_option(action)} \\" for action in options()),
    )


def _zsh_option(action: argparse.Action) -> str:
    name = action.option_strings[-1]
    text = str(action.help).replace("%%", "%").replace("[", "(").replace("]", ")")
    if action.nargs == 0:
        return _quoted(f"{name}[{text}]")
    repeated = "*" if isinstance(action.default, list) else ""
    complete = {"files": "_files", "directories": "_files -/"}.get(_argument(action), "")
    if action.choices:
        complete = f"({' '.join(action.choices)})"
    value = str(action.metavar or action.dest).replace("[", "").replace("]", "")
    if name in JOINED:
        return _quoted(f"{repeated}{name}=-[{text}]::{value}:{complete}")
    return _quoted(f"{repeated}{name}=[{text}]:{value}:{complete}")


def _argument(action: argparse.Action) -> str:
    """What an option's argument is: "files", "directories" or "" for what no shell can know."""
    metavar = str(action.metavar)
    if metavar == "DIR":
        return "directories"
    return "files" if metavar in ("FILE", "[DISK=]TARGET") else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    print({"bash": bash, "zsh": zsh}[sys.argv[1]](), end="")
