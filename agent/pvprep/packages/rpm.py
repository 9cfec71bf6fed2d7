"""rpm by its own program: all that needs no repository. What fetches from one builds on it.

Preconditions: for a tree, `namespace.enter` has been called; all programs run inside it. Sources:
rpm(8), rpmkeys(8); rpm's lib/psm.c on scriptlets: a failing %post is a warning there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Union

from .. import namespace
from ..changes import InstallPackages
from ..errors import PvprepError
from ..guest import Guest, Line
from . import locks, rpmcheck, rpmdb
from .child import Child, Progress, program
from .localfiles import inside

_MAGIC = b"\xed\xab\xee\xdb"  # rpm's lib/rpmlead.c
_FAILED = re.compile(r"script(let)? failed")  # rpm's words, and libzypp's


class Rpm:
    """The package manager of a guest that has rpm and nothing that pvprep could let fetch."""

    def __init__(
        self, guest: Guest, line: Line, progress: Progress, timeout: float = locks.TIMEOUT
    ) -> None:
        """line: each line that the package manager prints; timeout: seconds to wait for locks."""
        self.guest = guest
        self.line = line
        self.progress = progress
        self.timeout = timeout
        self.said: list[str] = []  # every line of the last run

    def wait(self) -> None:
        """Wait until nobody changes packages; raises PvprepError after the timeout."""
        locks.wait(
            lambda: rpmcheck.lock_holder(self.guest), "rpm", self.timeout, self.line, self.progress
        )
        self.installed()  # raises where the database cannot be read

    def installed(self) -> Mapping[str, str]:
        """Every installed package: key (see rpmdb.py) -> version."""
        return {key: package.version for key, package in rpmdb.packages(self.guest).items()}

    def choose(self, names: Sequence[str]) -> str:
        """Always raises: there is nothing to fetch with."""
        raise PvprepError(
            f"nothing here can fetch {' or '.join(names)} for pvprep",
            "install dnf with python3-dnf, dnf5 with python3-libdnf5, or zypper; or give the "
            "package with --kernel-package FILE",
        )

    def install(self, change: InstallPackages) -> None:
        """Install by name, or from files by `rpm -i`: older versions stay where they are."""
        if change.files:
            for file in change.files:
                _refuse_other(file)
            self._install_files(inside(self.guest, change.files))
        for name in change.names:
            self._install_name(name)

    def purge(self, names: Sequence[str]) -> None:
        """Remove exactly these (keys). rpm refuses where another package needs one of them."""
        there = rpmdb.packages(self.guest)
        full = [there[name].full for name in names if name in there]
        if not full:
            return
        self.wait()
        status, child = self._rpm("-e", "--allmatches", *full)
        left = sorted({one.full for one in rpmdb.packages(self.guest).values()} & set(full))
        if status or left:
            raise PvprepError(
                f"rpm -e failed, these are left: {', '.join(left) or 'none'}; {child.explain()}",
                f"mend what it says, then `rpm -e {' '.join(full)}`",
            )

    def mend(self) -> None:
        """Remove what a killed transaction unpacked but never noted in the database."""
        self.wait()
        rpmdb.sweep(self.guest, rpmdb.packages(self.guest))

    def _install_name(self, name: str) -> None:
        self.choose([name])

    def _install_files(self, files: Sequence[str]) -> None:
        """All in one transaction. Signatures count as the guest's rpm and dnf are told."""
        wanted = {
            package.full: file for file in files for package in rpmdb.in_files(self.guest, [file])
        }
        there = {package.full for package in rpmdb.packages(self.guest).values()}
        todo = [file for package, file in wanted.items() if package not in there]
        if not todo:
            return
        self.wait()
        options = ["--oldpackage"]  # one that is older than another still comes beside it
        if self._wants_signatures():
            options += ["--define", "_pkgverify_level all"]
        status, child = self._rpm("-i", "--test", *options, *todo)
        if status:
            raise PvprepError(
                f"rpm does not take it: {child.explain()}",
                "what it needs can be given, too, with --kernel-package, or be installed first",
            )
        self._transaction(list(wanted), todo, lambda: self._rpm("-i", "-v", *options, *todo))

    def _transaction(
        self,
        packages: Sequence[str],
        files: Sequence[str],
        act: Callable[[], tuple[int, Child]],
    ) -> None:
        """Let act install these, and judge it by its status, its words and the database.

        packages: as Package.full; files: theirs, inside the guest.
        """
        rpmdb.expect(self.guest, files)
        status, child = act()
        failed = [text.strip() for text in self.said if _FAILED.search(text)]
        there = {package.full for package in rpmdb.packages(self.guest).values()}
        missing = [package for package in packages if package not in there]
        if status or missing or failed:
            failures = "; ".join(dict.fromkeys(failed)) or child.error
            raise PvprepError(
                f"the installation failed: {failures or child.explain()}"
                + (f"; not installed: {', '.join(missing)}" if missing else ""),
                "mend what it says, or see what the script of that package wants (`rpm -q "
                "--scripts`), then run pvprep again",
            )
        rpmdb.settled(self.guest)

    def _hear(self, text: str) -> None:
        self.said.append(text)
        self.line(text)

    def _run(
        self, argv: Sequence[str], status_words: bool = False, fetches: bool = True
    ) -> tuple[int, Child]:
        """Run a program inside; status_words: its last argument is the descriptor for them.

        fetches: it may need the network.
        """
        self.said.clear()
        child = Child(self._hear, self.progress, not self.guest.running, fetches)

        def work(status: int) -> int:
            namespace.for_packages(self.guest, fetches)
            return program(self.guest.argv([*argv, str(status)] if status_words else argv))

        return child.run(work), child

    def _rpm(self, *arguments: str) -> tuple[int, Child]:
        return self._run(["rpm", *arguments], fetches=False)

    def _wants_signatures(self) -> bool:
        """Whether dnf.conf(5) has localpkg_gpgcheck."""
        text = self.guest.text("/etc/dnf/dnf.conf")
        return bool(re.search(r"(?mi)^localpkg_gpgcheck[ \t]*=[ \t]*(1|yes|true|on)\b", text))


def _refuse_other(file: str) -> None:
    """rpm takes any text for a list of packages."""
    with open(file, "rb") as opened:
        if opened.read(4) != _MAGIC:
            raise PvprepError(f"{os.path.basename(file)} is no rpm package")


def find(guest: Guest, family: str, line: Line, progress: Progress) -> Rpm:
    """What fetches packages in this guest; rpm alone where nothing does that pvprep can drive."""
    from .dnf import Dnf, Dnf5
    from .zypper import Zypper

    # What `dnf` is now comes before what may be installed besides.
    kinds: tuple[Union[type[Dnf], type[Zypper]], ...] = (Dnf5, Dnf, Zypper)
    for kind in kinds if family == "redhat" else reversed(kinds):
        if kind.usable(guest):
            return kind(guest, line, progress)
    return Rpm(guest, line, progress)
