"""Write the manual page pvprep(8), in roff for man(7), to stdout.

Verbs, options and exit statuses come from the command line's parser, steps and findings from the
steps, so that the page says what `pvprep --help` and `pvprep explain` say. Run with the agent on
the path. The date is SOURCE_DATE_EPOCH's (seconds since 1970; reproducible-builds.org), or none.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
import time
from collections.abc import Iterable, Iterator

from pvprep import __version__, arguments
from pvprep.steps import (
    STEPS,
    bootloader_bls,
    bootloader_grub2,
    fallback,
    initrd,
    network,
    selinux,
)

SYNOPSIS = (
    "`pvprep` [`prepare`] [`--dry-run`] [`--emit-config`[=_FILE_]] [_options_]",
    "`pvprep` `check` | `status` [`--json`] [`--root` _DIR_]",
    "`pvprep` `explain` [_ID_]",
    "`pvprep` `config` [_options_]",
    "`pvprep` `rollback` [`--dry-run`] [`--verify`] [`--root` _DIR_]",
    "`pvprep` `recover` [`--root` _DIR_]",
    "`pvprep` `report` [`--output` _FILE_] [_options_]",
)

DESCRIPTION = """
It runs inside the guest, as root, or on the guest's mounted tree with `--root`. It looks at what
is there, plans what a PV guest still lacks, shows the plan, applies it as one transaction, reads
everything back the way pygrub in dom0 would, and writes the domU config from the same facts. Run
again, it finds nothing to do. It never restarts or switches off the guest: the type of a domain
changes only in dom0, by starting it from the new config.

Every change is recorded before it is made. A run that is killed at any point leaves a guest that
still boots as HVM, and `pvprep recover` brings it to one of the two ends. `pvprep rollback` puts
back every byte and every attribute, and refuses, naming the file, where somebody edited it since.

Data (a config, JSON, the texts of `status` and `explain`) goes to standard output, all else to
standard error. Unless the exit status is 0, standard output stays empty; only `--json` always
gives its document.

`report` writes one archive for a bug report: what was found, the plan, its diffs, the files that
the steps read, the journal's manifests (not its backups) and the logs. Passwords, keys and hashes
are taken out of it, as they are out of the log and what is shown; UUIDs, MAC addresses and host
names stay. Files that may hold a secret in any form (cron tables, rc.local) are named only. Read
it before you pass it on.

Removing the package undoes nothing: the files that pvprep wrote are part of the guest, which needs
them to boot. A purge removes the logs, and leaves `/var/lib/pvprep` alone as well: without it
nothing could be undone. Whoever is sure removes it by hand.
"""

FILES = (
    ("/var/lib/pvprep", "the journal: what was changed, and the backups that undo it. Keep it."),
    ("/var/lib/pvprep/boots", "the PV boots that were recorded, a JSON object a line"),
    ("/var/log/pvprep", "a log of each run"),
    (fallback.RULES, "gives the emulated disk its PV name too: the guest still boots as HVM"),
    (fallback.HOOK, "takes that rule into the initrd (initramfs-tools)"),
    (fallback.DRACUT_CONF, "the same for dracut"),
    (initrd.MODULES, "names the frontends, so that every initrd has them (initramfs-tools)"),
    (initrd.DRACUT_CONF, "the same for dracut"),
    (network.LINK.format("NAME"), "pins the name of an interface to its MAC address"),
    (bootloader_grub2.OWN_SCRIPT, "keeps the PV kernel the first entry of a new grub.cfg"),
    (bootloader_grub2.TIMEOUT_SCRIPT, "ends grub.cfg in a timeout that pygrub can read (Fedora)"),
    (bootloader_bls.PLUGIN, "has grub.cfg made anew for each kernel, where BLS was in use"),
    (selinux.AUTORELABEL, "has the first boot give new files their SELinux labels; it goes then"),
    ("/dev/xen/xenbus", "asked what dom0 knows of this domain: its disks, bridges, name and size"),
    ("data/pvprep/config", "in xenstore: the config that `--to-xenstore` leaves for dom0"),
    ("data/pvprep/boot", "in xenstore: what a PV boot came to, for `pvprep-dom0 trial`"),
    ("pvprep-boot.service", "records the boots by `pvprep record-boot`, when the system is up"),
)

EXAMPLES = (
    ("See everything that would change, as diffs and commands:", "pvprep --dry-run"),
    ("Prepare the guest; the config is for dom0:", "pvprep --emit-config > bifit.cfg"),
    (
        "Give the disk that dom0 has for it, and the bridge:",
        "pvprep --emit-config=bifit.cfg --disk-backend /dev/drbd/bifit --bridge xenbr4",
    ),
    ("Keep the way back, before anything else:", "pvprep config --type hvm > hvm.cfg"),
    (
        "Hand the config over where no network is; in dom0: `pvprep-dom0 fetch DOMID --check`.",
        "pvprep --to-xenstore",
    ),
    ("Ask what a finding means, and what to do:", "pvprep explain kernel.pvhvm-only"),
    ("Put together what a bug report needs:", "pvprep report --output pvprep-report.tar.gz"),
    ("Put everything back, and have it proven:", "pvprep rollback --verify"),
    (
        "Prepare a guest that is switched off, mounted at /mnt. Nobody can ask its hardware there:",
        "pvprep --root /mnt --mac 00:16:3e:01:12:c1 --emit-config=bifit.cfg",
    ),
    (
        "At the end of an installation, in a kickstart's `%post` or a preseed's `late_command` "
        "(there behind `in-target`). Snippets for kickstart, AutoYaST, preseed, autoinstall and "
        "cloud-init are among the package's documentation, in `examples`.",
        "pvprep --emit-config=/root/domu.cfg",
    ),
)

SEE_ALSO = (
    ("pvprep-dom0", 8), ("xl", 1), ("xl.cfg", 5), ("pygrub", 1),
    ("update-initramfs", 8), ("systemd.link", 5)
)  # fmt: skip

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga"}
_MARKED = re.compile(r"`([^`]+)`|\b_([^_\s]+)_\b")


def roff(text: str) -> str:
    """One line of text for roff; what stands in `backquotes` is bold, in _underscores_ italic."""
    done, end = "", 0
    for mark in _MARKED.finditer(text):
        bold, italic = mark.groups()
        word = f"\\fB{_plain(bold)}\\fR" if bold else f"\\fI{_plain(italic)}\\fR"
        done += _plain(text[end : mark.start()]) + word
        end = mark.end()
    done += _plain(text[end:])
    return f"\\&{done}" if done.startswith(".") else done


def _plain(text: str) -> str:
    return "".join(
        _SPECIAL.get(char, char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text
    )


def paragraphs(text: str, between: str = ".PP") -> Iterator[str]:
    """Filled text; an empty line parts its paragraphs."""
    for number, part in enumerate(text.strip().split("\n\n")):
        if number:
            yield between
        # A mark must not be cut by the end of a line: its spaces do not count as places to break.
        solid = _MARKED.sub(lambda mark: mark[0].replace(" ", "\0"), " ".join(part.split()))
        for line in textwrap.wrap(solid, 66, break_long_words=False, break_on_hyphens=False):
            yield roff(line.replace("\0", " "))


def tagged(tag: str, text: str) -> Iterator[str]:
    """A paragraph with a hanging tag."""
    yield ".TP"
    yield roff(tag)
    yield from paragraphs(text, between=".IP")


def option(action: argparse.Action) -> str:
    """An option with its argument, as it is typed."""
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    if action.choices:
        return f"{names} " + "|".join(f"`{choice}`" for choice in action.choices)
    value = str(action.metavar or action.dest.upper())
    value = re.sub(r"[A-Z]+", r"_\g<0>_", value)
    return f"{names}[={value}]" if action.dest in ("emit_config", "fix") else f"{names} {value}"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All options; argparse has no public way to its groups."""
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.option_strings]
        if actions and group.title != "options" and group.title != "optional arguments":
            yield f".SS {roff(_capital(str(group.title)))}"
        for action in actions:
            yield from tagged(option(action), sentence(str(action.help)))


def exit_statuses(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The parser's own closing line, one status a paragraph."""
    _, _, text = str(parser.epilog).partition(": ")
    for item in text.rstrip(".").split("; "):
        status, _, meaning = item.partition(" ")
        yield from tagged(f"`{status}`", sentence(meaning))


def steps() -> Iterator[str]:
    """What each step does, why, and what it reads."""
    for step in STEPS:
        yield from tagged(f"`{step.name}`", step.why)
        if step.reads:
            yield ".IP"
            yield from paragraphs("Reads " + ", ".join(f"`{path}`" for path in step.reads) + ".")


def findings() -> Iterator[str]:
    """What each finding's id means and what to do."""
    for step in STEPS:
        for name, text in step.topics.items():
            yield from tagged(f"`{name}`", text)


def sentence(text: str) -> str:
    """A line of --help as a sentence."""
    text = text.replace("%%", "%")
    return _capital(text) + ("" if text.endswith((".", "?")) else ".")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A section with its heading."""
    yield f".SH {roff(title)}"
    yield from lines


def page() -> Iterator[str]:
    """The page, line by line."""
    parser = arguments.parser()
    yield from header("pvprep", __version__)
    yield from section("NAME", ["pvprep \\- prepare a Xen HVM guest to boot paravirtualised"])
    yield from section("SYNOPSIS", parted(SYNOPSIS))
    about = str(parser.description)
    yield from section("DESCRIPTION", paragraphs(f"{about}\n\n{DESCRIPTION}"))
    verbs = ((f"`{v}`", sentence(t)) for v, t in arguments.VERBS.items() if t != argparse.SUPPRESS)
    yield from section("VERBS", all_tagged(verbs))
    yield from section("OPTIONS", options(parser))
    yield from section("EXIT STATUS", exit_statuses(parser))
    files = ((f"`{path}`", sentence(text)) for path, text in FILES)
    yield from section("FILES", all_tagged(files))
    yield from section("STEPS", ["In the order in which they are planned:", *steps()])
    yield from section("FINDINGS", findings())
    yield from section("EXAMPLES", examples(EXAMPLES))
    yield from section("SEE ALSO", paragraphs(others(SEE_ALSO)))


def header(program: str, version: str) -> Iterator[str]:
    """What comes before the first section."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    name = program.replace("-", "\\-")
    yield '.\\" Made by packaging/common from the program itself.'
    yield f'.TH {name.upper()} 8 "{date}" "{name} {version}" "System Administration"'
    yield ".nh"  # names of files are not to be hyphenated
    yield ".ad l"


def others(pages: Iterable[tuple[str, int]]) -> str:
    """Other pages of the manual."""
    return ", ".join(f"`{name}`({number})" for name, number in pages)


def all_tagged(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    for tag, text in items:
        yield from tagged(tag, text)


def parted(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number:
            yield ".br"
        yield roff(line)


def examples(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each a text and a command."""
    for number, (text, command) in enumerate(pairs):
        if number:
            yield ".PP"
        yield from paragraphs(text)
        yield ".RS 4"
        yield ".EX"
        yield roff(command)
        yield ".EE"
        yield ".RE"


if __name__ == "__main__":
    print("\n".join(page()))
