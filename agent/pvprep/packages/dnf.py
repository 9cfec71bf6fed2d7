"""dnf 4 and 5 by their API, in a program that the guest's own Python runs (drivers/).

That way it is the same on a running system and in a tree: the bindings that fit the guest's dnf,
its rpm and its database's format are those of the guest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from ..errors import PvprepError
from ..guest import Guest
from . import drivers, rpmdb
from .child import Child
from .localfiles import inside
from .rpm import Rpm

_PYTHON = "/usr/bin/python3"


class Dnf(Rpm):
    """dnf 4. Its Python is the one that /usr/bin/dnf-3 runs by (EL 8: platform-python)."""

    program = "/usr/bin/dnf-3"
    driver = "dnf4.py"

    @classmethod
    def usable(cls, guest: Guest) -> bool:
        """Whether it is what the command `dnf` is."""
        return guest.resolve("/usr/bin/dnf") == guest.resolve(cls.program)

    def choose(self, names: Sequence[str]) -> str:
        """The first that the enabled repositories have; PvprepError, saying why, where none."""
        answer = self._answer("choose", names)
        if not answer["name"]:
            raise PvprepError(
                f"no kernel package can be had: {'; '.join(answer['reasons'])}",
                "see to /etc/yum.repos.d and to what is excluded; or give the package with "
                "--kernel-package FILE",
            )
        return str(answer["name"])

    def _install_name(self, name: str) -> None:
        files = self._answer("fetch", [name])["files"]
        if files:
            wanted = [package.full for package in rpmdb.in_files(self.guest, files)]
            self._transaction(wanted, files, lambda: self._drive("install", [name]))

    def _answer(self, what: str, names: Sequence[str]) -> Any:
        self.wait()
        status, child = self._drive(what, names)
        if status:
            raise PvprepError(
                f"dnf cannot {what} {' or '.join(names)}: {child.error or child.explain()}",
                "see what `dnf install` says to it",
            )
        return json.loads(child.answer)

    def _drive(self, what: str, names: Sequence[str]) -> tuple[int, Child]:
        script = os.path.join(os.path.dirname(drivers.__file__), self.driver)
        (script,) = inside(self.guest, [script])
        job = json.dumps({"do": what, "names": list(names)})
        return self._run([self._python(), "-I", script, job], status_words=True)

    def _python(self) -> str:
        first = self.guest.text(self.program).split("\n")[0]
        return first[2:].split()[0] if first.startswith("#!") else _PYTHON


class Dnf5(Dnf):
    """dnf 5, by libdnf5."""

    program = "/usr/bin/dnf5"
    driver = "dnf5.py"

    @classmethod
    def usable(cls, guest: Guest) -> bool:
        """Whether it is what the command `dnf` is; it needs no Python, but we need its binding."""
        sites = [*guest.glob("/usr/lib64/python3*/*-packages"),
                 *guest.glob("/usr/lib/python3*/*-packages")]  # fmt: skip
        return super().usable(guest) and any(guest.is_dir(f"{site}/libdnf5") for site in sites)

    def _python(self) -> str:
        return _PYTHON
