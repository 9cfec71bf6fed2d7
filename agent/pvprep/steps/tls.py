"""The TLS libraries of old 32-bit systems.

Under Xen a 32-bit PV kernel cannot give a process segments that reach the top of the address space,
which glibc's TLS variant in /lib/tls uses with negative offsets: every access traps ("4gb seg
fixup"), which is slow. Where the distribution has a libc made for Xen (libc6-xen, or the nosegneg
hwcap), that one is used; else /lib/tls is moved aside to /lib/tls.disabled and an empty directory
stays in its place, so that no upgrade fills it again. Judged by the guest's user space, not by the
host's. A 64-bit system needs nothing.
"""

from __future__ import annotations

from typing import Optional

from ..context import Context
from ..draft import Draft
from ..facts import File
from ..findings import Level
from .step import Step

NAME = "tls"
TLS = "/lib/tls"
ASIDE = "/lib/tls.disabled"
LIBC = ("/lib/libc.so.6", "/lib/i386-linux-gnu/libc.so.6", "/usr/lib/i386-linux-gnu/libc.so.6")


def plan(context: Context, draft: Draft) -> None:
    """Move /lib/tls aside where it is in use."""
    facts = context.facts
    if context.userland_bits != 32:
        what = "a 64-bit system" if context.userland_bits else "a system that is not 32-bit x86"
        draft.say("tls.not-needed", Level.OK, f"nothing to do on {what}")
        return
    if _nosegneg(context):
        draft.say("tls.nosegneg", Level.OK, "the libc made for Xen (nosegneg) is in use")
        return
    # An empty /lib/tls is what an earlier run, or a person following the old how-to, left.
    if not facts.under(TLS + "/"):
        draft.say("tls.not-needed", Level.OK, "no libraries in /lib/tls")
        return
    if not any(_elsewhere(facts.file(path)) for path in LIBC):
        draft.say(
            "tls.only-libc",
            Level.ERROR,
            "/lib/tls holds the only C library: without it no program would start",
            remedy="install libc6 outside of /lib/tls first",
        )
        return
    if facts.file(ASIDE):
        draft.say(
            "tls.aside-exists",
            Level.ERROR,
            f"{TLS} has libraries again, but {ASIDE} exists already",
            remedy=f"look at both; remove or rename {ASIDE}, then run pvprep again",
        )
        return
    here = _resolved(context)
    draft.move(NAME, here, f"{here}.disabled", "32-bit TLS libraries trap under Xen PV")
    draft.directory(NAME, here, "left empty, so that upgrades do not refill it")


def _resolved(context: Context) -> str:
    """Where the directory lies: /lib is a link where /usr is merged."""
    found = context.facts.file(TLS)
    return found.path if found and found.target is None else TLS


def _elsewhere(libc: Optional[File]) -> bool:
    """Whether it is there and no link into /lib/tls (or to nowhere)."""
    if libc is None or libc.path.startswith(TLS + "/"):
        return False
    return libc.target is None or libc.path not in LIBC


def _nosegneg(context: Context) -> bool:
    facts = context.facts
    variants = [path for path in facts.files if "/nosegneg/" in path]
    hwcap = any("nosegneg" in facts.text(path) for path in facts.under("/etc/ld.so.conf.d/"))
    return bool(variants) and hwcap


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        TLS,
        TLS + "/*",
        TLS + "/*/*",
        ASIDE,
        *LIBC,
        "/etc/ld.so.conf.d/*.conf",
        "/lib/i686/nosegneg/libc.so.6",
        "/lib/tls/i686/nosegneg",
        "/lib/i386-linux-gnu/i686/nosegneg/libc.so.6",
    ),
    topics={
        "tls.not-needed": "A 64-bit user space, or one without /lib/tls, has nothing to move.",
        "tls.nosegneg": "ld.so.conf.d names the hwcap nosegneg and its libraries are installed.",
        "tls.only-libc": "Moving the only libc aside would stop every program: pvprep refuses.",
        "tls.aside-exists": (
            "An upgrade filled /lib/tls again after it had been moved aside. Which of the two "
            "directories is the right one, only a person can tell."
        ),
    },
)
