"""Write the completions of a command line for a shell to stdout: SHELL [PROGRAM].

SHELL is bash or zsh, PROGRAM is pvprep or pvprep-dom0. Made from the command line's parser and from
what `explain` knows. Run with the agent on the path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pvprep.arguments
import pvprep.explain
import pvprep_dom0.cli
import pvprep_dom0.findings


@dataclass(frozen=True)
class Program:
    """A program, as its completions need it. ids: of explain. takes_file: verbs with a file."""

    name: str
    parser: argparse.ArgumentParser
    verbs: dict[str, str]
    ids: dict[str, str]
    takes_file: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """The name of its shell function."""
        return "_" + self.name.replace("-", "_")


PROGRAMS = {
    "pvprep": Program(
        "pvprep", pvprep.arguments.parser(), pvprep.arguments.VERBS, pvprep.explain.topics()
    ),
    "pvprep-dom0": Program(
        "pvprep-dom0", pvprep_dom0.cli.parser(), pvprep_dom0.cli.VERBS,
        pvprep_dom0.findings.TOPICS, ("check", "trial"),
    ),
}  # fmt: skip

# Their argument is optional, and no word of its own: it follows a "=".
JOINED = ("--emit-config", "--fix")

BASH = """\
# bash completion for {name}(8). Made by packaging/common/completions.py.

{function}()
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
{files}    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W '{verbs}' -- "$cur"))
    fi
}}

complete -F {function} {name}
"""

_BASH_FILE = """\
    elif [[ $verb == @({verbs}) ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
"""

_BASH_FILES = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -{kind} -- "$cur"); return ;;'
_BASH_WORDS = "COMPREPLY=($(compgen -W '{words}' -- \"$cur\")); return ;;"

ZSH = """\
#compdef {name}
# zsh completion for {name}(8). Made by packaging/common/completions.py.

{function}_verbs()
{{
    local -a verbs=(
{verbs}
    )
    _describe verb verbs
}}

{function}_ids()
{{
    local -a ids=({ids})
    [[ ${{words[(I)explain]}} -eq 0 ]] || _describe ID ids
{files}}}

_arguments -s -S \\
{options}
    '1:verb:{function}_verbs' \\
    '2:ID:{function}_ids'
"""

_ZSH_FILE = "    [[ -z ${{words[(r)({verbs})]}} ]] || _files\n"


def options(program: Program) -> list[argparse.Action]:
    """All options; argparse has no public way to them."""
    return [action for action in program.parser._actions if action.option_strings]


def verbs(program: Program) -> dict[str, str]:
    """The verbs that people use."""
    return {verb: text for verb, text in program.verbs.items() if text != argparse.SUPPRESS}


def bash(program: Program) -> str:
    """A completion that needs nothing but bash."""
    names = [name for action in options(program) for name in action.option_strings]
    names += [f"{name}=" for name in JOINED if name in names]
    return BASH.format(
        name=program.name,
        function=program.function,
        arguments="\n".join(f"        {line}" for line in _bash_arguments(program)),
        verb_pattern="|".join(program.verbs),
        verbs=" ".join(verbs(program)),
        ids=" ".join(program.ids),
        files=_file(_BASH_FILE, program),
        options=" ".join(names),
    )


def _file(template: str, program: Program) -> str:
    """What completes the file that some verbs take."""
    return template.format(verbs="|".join(program.takes_file)) if program.takes_file else ""


def _bash_arguments(program: Program) -> Iterator[str]:
    for action in options(program):
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


def zsh(program: Program) -> str:
    """A completion for zsh's own system."""
    return ZSH.format(
        name=program.name,
        function=program.function,
        verbs="\n".join(f"        {_quoted(f'{v}:{t}')}" for v, t in verbs(program).items()),
        ids=" ".join(program.ids),
        files=_file(_ZSH_FILE, program),
        options="\n".join(f"    {_zsh_option(action)} \\" for action in options(program)),
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
    print({"bash": bash, "zsh": zsh}[sys.argv[1]](PROGRAMS[(*sys.argv[2:], "pvprep")[0]]), end="")
