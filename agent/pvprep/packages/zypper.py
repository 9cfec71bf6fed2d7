"""zypper by its command line: it has no other interface. Its XML is for us, its words for people.

Sources: zypper(8) on exit codes and --xmlout, zypper's xml/xmlout.rnc.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import PvprepError
from ..guest import Guest
from .child import Child
from .rpm import Rpm

_CACHE = "/var/cache/zypp/packages"
# Recommended packages the guest did without. Nobody is there to answer, to a licence neither.
_INSTALL = ("install", "--no-recommends", "--auto-agree-with-licenses")
_MESSAGE = re.compile(r'<message type="(\w+)">(.*?)(?:</message>|$)')
_PROGRESS = re.compile(r'<progress .*?name="([^"]*)"(?: value="(\d+)")?')
_GROUP = re.compile(r"<to-([\w-]+)>(.*?)</to-\1>", re.S)
_SOLVABLE = re.compile(r'<solvable type="package" name="([^"]+)" edition="([^"]+)" arch="([^"]+)"')
_PROBLEM = re.compile(r"<description>(Problem: .*?)</description>", re.S)


@dataclass(frozen=True)
class _Item:
    """A package of a plan; what: `install`, `upgrade`, `remove` ..."""

    what: str
    name: str
    full: str


class Zypper(Rpm):
    """The package manager of openSUSE and SLES."""

    @staticmethod
    def usable(guest: Guest) -> bool:
        """Whether it is there."""
        return guest.is_file("/usr/bin/zypper")

    def choose(self, names: Sequence[str]) -> str:
        """The first that the enabled repositories have; PvprepError, saying why, where none."""
        self.wait()
        reasons = []
        for name in names:
            status, _ = self._zypper(*_INSTALL, "--dry-run", name)
            if not status:
                return name
            reasons.append(f"{name}: {self._why(status)}")
        raise PvprepError(
            f"no kernel package can be had: {'; '.join(reasons)}",
            "see `zypper repos` and `zypper locks`; or give the package with --kernel-package FILE",
        )

    def _install_name(self, name: str) -> None:
        self.wait()
        status, _ = self._zypper(*_INSTALL, "--dry-run", name)
        plan = list(_items("\n".join(self.said)))
        if status:
            raise PvprepError(f"zypper cannot install {name}: {self._why(status)}")
        self._refuse(plan)
        if not plan:
            return
        status, _ = self._zypper(*_INSTALL, "--download-only", name)
        if status:
            raise PvprepError(
                f"zypper cannot fetch {name}: {self._why(status)}",
                "see to the network and to `zypper repos`; a key that zypper does not trust yet is "
                "taken by `zypper refresh`",
            )
        full = [item.full for item in plan]
        paths = [*self.guest.glob(f"{_CACHE}/*/*.rpm"), *self._deeper()]
        files = [path for path in paths if path.rsplit("/", 1)[1][: -len(".rpm")] in full]
        self._transaction(full, files, lambda: self._zypper(*_INSTALL, name))

    def _deeper(self) -> Iterator[str]:
        """Packages in the cache of repositories that have a directory for each architecture."""
        for directory in self.guest.glob(f"{_CACHE}/*/*"):
            yield from self.guest.glob(f"{directory}/*.rpm")

    def _refuse(self, plan: Sequence[_Item]) -> None:
        harm = [item.full for item in plan if item.what not in ("install", "upgrade")]
        if harm:
            raise PvprepError(
                f"it would remove, downgrade or change {', '.join(harm)}",
                "resolve that with zypper first",
            )
        for item in plan:
            if item.what == "upgrade" and item.name.startswith("kernel-"):
                raise PvprepError(
                    f"it would put {item.full} in the place of the kernel that is installed",
                    "let `multiversion = provides:multiversion(kernel)` be in /etc/zypp/zypp.conf",
                )
            if item.what == "upgrade":
                self.line(f"upgrades to {item.full}, which is needed; rollback does not undo it")

    def _zypper(self, *words: str) -> tuple[int, Child]:
        wait = f"ZYPP_LOCK_TIMEOUT={self.timeout:.0f}"
        return self._run(["env", wait, "zypper", "--non-interactive", "--xmlout", *words])

    def _why(self, status: int) -> str:
        """What it said, in its words."""
        text = "\n".join(self.said)
        found = [words for kind, words in _MESSAGE.findall(text) if kind == "error"]
        found += _PROBLEM.findall(text)
        return "; ".join(html.unescape(words).strip() for words in found) or f"status {status}"

    def _hear(self, text: str) -> None:
        """One line of XML, or of what a script printed."""
        self.said.append(text)  # as it is: the plan is in it
        message, progress = _MESSAGE.search(text), _PROGRESS.search(text)
        if message:
            self.line(html.unescape(message[2]))
        elif progress:
            value = float(progress[2]) / 100 if progress[2] else None
            self.progress(value, html.unescape(progress[1]))
        elif not text.lstrip().startswith("<"):
            self.line(html.unescape(text.replace("</message>", "")))


def _items(text: str) -> Iterator[_Item]:
    """The packages in an install-summary."""
    for what, group in _GROUP.findall(text):
        for name, edition, architecture in _SOLVABLE.findall(group):
            release = edition.split(":", 1)[-1]
            yield _Item(what, name, f"{name}-{release}.{architecture}")
