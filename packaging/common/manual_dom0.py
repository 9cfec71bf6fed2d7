"""Write the manual page pvprep-dom0(8), in roff for man(7), to stdout; see manual.py.

Verbs, options, exit statuses, the policy and the findings come from the program itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import manual

from pvprep_dom0 import __version__, cli, policy, state, trial
from pvprep_dom0.findings import TOPICS

SYNOPSIS = (
    "`pvprep-dom0` `check` _FILE_ [`--hvm` _OLD_|`--domain` _DOMAIN_] [`--policy` _FILE_] "
    "[`--fix`[=_FILE_]] [`--json`]",
    "`pvprep-dom0` `fetch` _DOMAIN_ [`--output` _FILE_] [`--check`]",
    "`pvprep-dom0` `trial` _FILE_ `--hvm` _OLD_ [`--timeout` _SECONDS_] [`--force-off`] "
    "[`--restore`] [`--evidence` `report`|`console`]",
    "`pvprep-dom0` `trial` `--resume` _NAME_",
    "`pvprep-dom0` `explain` [_ID_]",
)

DESCRIPTION = """
It needs nothing of the guest's agent, pvprep, and nothing of it is ever run: a config is read, by
the grammar that xl reads it by, and judged.

`check` takes a config that came out of a guest for hostile until it is proven otherwise. Only keys
that are known to be harmless pass, and of those only values that the policy allows, or that the
domain has had so far: its disks, bridges, memory and processors. What it has had is told by its
config until now (`--hvm`), or by the running domain itself (`--domain`). Without them, the policy
alone decides. The program looks at the domains that run, for names, UUIDs, MAC addresses and disks
that are another's already. `--fix` writes the config again without what is not safe, and proves
that by checking it once more.

`fetch` takes the config that the guest has put into xenstore (`pvprep config --to-xenstore`). With
`--check` it is written only if it is safe for the very domain that it came from.

`trial` checks the config, shuts the domain down, takes a snapshot of its disks where LVM or an
image in qcow2 can do that (elsewhere it says so), starts it as PV and waits until the guest itself
tells through xenstore that its root, network and console are there. If it does not, the console's
log is kept, the domain destroyed and started again from `--hvm`; with `--restore` its disks get
back what they had before. A disk that could not be restored is named in the last line. The console
is read from the log of `xenconsoled --log=guest`, or, where there is none, from `xl console`, which
nobody else can have open then (Xen lets in one at a time; older ones give each a part).

A guest that was converted from outside, and has no pvprep in it, tells nothing. For it there is
`--evidence console`: it counts as up, too, once a login prompt has come on its console and all of
its disks and interfaces are connected (in xenstore: state 4), and that lasts for half a minute.
That shows less: not which root it has, nor whether it has an address. Which of the two it was is
said. A guest that does report is judged by its report.

A trial that is interrupted (SIGINT, SIGTERM) goes back to HVM in order. One that is killed leaves
the domain in one of its two forms, or off; `--resume` goes on where it was.
"""

FILES = (
    (policy.PLACE, "what this host allows"),
    (f"{state.HOME}/trial-NAME.json", "a trial that has not come to its end"),
    (f"{state.HOME}/NAME.pv.cfg", "the config that the domain was tried with, and is kept with"),
    (f"{state.HOME}/NAME.hvm.cfg", "the config until then: the way back"),
    (f"{state.HOME}/NAME.console.log", "why it went back, and what it said on its console"),
    (f"{trial.CONSOLES}/guest-NAME.log", "where that is read, if xenconsoled logs"),
    (f"{state.HOME}/NAME.recorded", "what `xl console` has printed, while it is tried"),
)

POLICY = """
An INI file with one section, `[allow]`. Lists are words between blanks. In patterns `*` and `?`
stand for anything but a `/`; `{name}` for the domain's name as dom0 knows it (by `--hvm` or
`--domain`), never for what the config says itself.
"""

EXAMPLES = (
    (
        "Is this config safe for the domain that was started by the other one?",
        "pvprep-dom0 check bifit.cfg --hvm /etc/xen/bifit.cfg",
    ),
    ("Take what the guest left, if it is safe:", "pvprep-dom0 fetch bifit --check > bifit-pv.cfg"),
    (
        "Try it, with a way back:",
        "pvprep-dom0 trial bifit-pv.cfg --hvm /etc/xen/bifit.cfg --restore",
    ),
)

SEE_ALSO = (
    ("pvprep", 8), ("xl", 1), ("xl.cfg", 5), ("xl-disk-configuration", 5),
    ("xl-network-configuration", 5), ("pygrub", 1), ("lvcreate", 8),
)  # fmt: skip


def options_of_the_policy() -> Iterator[tuple[str, str]]:
    """Each with its meaning and default."""
    for field in fields(policy.Policy):
        default = field.default
        words = " ".join(default) if isinstance(default, tuple) else str(default)
        text = manual.sentence(policy.MEANINGS[field.name])
        yield f"`{field.name}`", f"{text} Default: {words or 'none'}."


def page() -> Iterator[str]:
    """The page, line by line."""
    parser = cli.parser()
    yield from manual.header("pvprep-dom0", __version__)
    name = r"pvprep\-dom0 \- judge the config that a guest made of itself, and try the guest as PV"
    yield from manual.section("NAME", [name])
    yield from manual.section("SYNOPSIS", manual.parted(SYNOPSIS))
    text = f"{parser.description}\n\n{DESCRIPTION}"
    yield from manual.section("DESCRIPTION", manual.paragraphs(text))
    verbs = ((f"`{verb}`", manual.sentence(text)) for verb, text in cli.VERBS.items())
    yield from manual.section("VERBS", manual.all_tagged(verbs))
    yield from manual.section("OPTIONS", manual.options(parser))
    yield from manual.section("EXIT STATUS", manual.exit_statuses(parser))
    yield from manual.section("POLICY", manual.paragraphs(POLICY))
    yield from manual.all_tagged(options_of_the_policy())
    files = ((f"`{path}`", manual.sentence(text)) for path, text in FILES)
    yield from manual.section("FILES", manual.all_tagged(files))
    findings = ((f"`{id}`", text) for id, text in TOPICS.items())
    yield from manual.section("FINDINGS", manual.all_tagged(findings))
    yield from manual.section("EXAMPLES", manual.examples(EXAMPLES))
    yield from manual.section("SEE ALSO", manual.paragraphs(manual.others(SEE_ALSO)))


if __name__ == "__main__":
    print("\n".join(page()))
