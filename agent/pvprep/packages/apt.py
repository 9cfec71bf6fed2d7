"""Debian's and Ubuntu's packages, by way of python-apt; dpkg itself for what needs no archive.

Preconditions: for a tree, `namespace.enter` has been called. apt fetches from outside the tree and
runs dpkg inside. One process works on one guest.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..changes import InstallPackages
from ..errors import PvprepError
from ..findings import Finding
from ..guest import Guest, Line
from . import aptplan, dpkg, locks
from .aptconfig import configure
from .child import Child, Progress, program
from .localfiles import inside
from .manager import Candidate
from .reporters import Fetching, Installing
from .signals import Held


class _FetchError(PvprepError):
    """Something could not be downloaded."""


class Apt:
    """The package manager of one guest. What fails raises PvprepError, in words."""

    def __init__(
        self, guest: Guest, line: Line, progress: Progress, timeout: float = locks.TIMEOUT
    ) -> None:
        """line: each line that the package manager prints; timeout: seconds to wait for locks."""
        self.guest = guest
        self.line = line
        self.progress = progress
        self.timeout = timeout

    def check(self) -> list[Finding]:
        """What hinders an installation; reads only, and is quick."""
        return dpkg.check(self.guest)

    def installed(self) -> Mapping[str, str]:
        """Every installed package, half installed ones too: `name:arch` -> version."""
        return dpkg.installed(self.guest)

    def wait(self) -> None:
        """Wait until dpkg is free; raises PvprepError after the timeout, naming who has it."""
        locks.wait(
            lambda: dpkg.lock_holder(self.guest), "dpkg", self.timeout, self.line, self.progress
        )

    def choose(self, names: Sequence[str]) -> str:
        """The first of these packages that can be installed; PvprepError where none can."""
        known = self.candidates(names)
        if not known:
            raise PvprepError(
                f"no package source offers {' or '.join(names)}",
                "see /etc/apt/sources.list; on i386 a 64-bit kernel may need "
                "`dpkg --add-architecture amd64`; or give one with --kernel-package FILE",
            )
        return next(iter(known))

    def candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        """Which of these packages (`name` or `name:arch`) can be installed, in the order given.

        Where none is known the package lists are fetched first.
        """
        found = aptplan.candidates(self._open(), names)
        if not found:
            failure = None
            try:
                self.update()
            except PvprepError as error:
                failure = error  # one source may fail where another has the package
            found = aptplan.candidates(self._open(), names)
            if failure and not found:
                raise failure
        return {
            name: Candidate(
                name,
                version.version,
                version.architecture,
                int(version.size),
                version.package.installed.version if version.package.installed else "",
            )
            for name, version in found.items()
        }

    def update(self) -> None:
        """Fetch the package lists; raises PvprepError where a source cannot be read."""
        cache = self._open()
        with Held() as held:
            self._update(cache, Fetching("package lists", self.progress, False, held))

    def _update(self, cache: Any, fetching: Fetching) -> None:
        with self._words("cannot fetch the package lists", fetching):
            self._patiently(lambda: cache.update(fetching))
            if fetching.failures:
                raise SystemError("some lists are missing")

    def install(self, change: InstallPackages) -> None:
        """Install packages by name or from files, with what they depend on.

        Refused before anything changes: a plan that removes or downgrades a package, touches one on
        hold, or upgrades one without need. Lists that name what the archive has no more, or lack
        what a package needs, are fetched anew, once.
        """
        files = [self.guest.named(path) for path in inside(self.guest, change.files)]
        try:
            self._install(change.names, files)
        except (_FetchError, aptplan.UnmetError) as error:
            self.line(f"{error.message}; are the package lists too old?")
            self.update()
            self._install(change.names, files)

    def _install(self, names: Sequence[str], files: Sequence[str]) -> None:
        with self._locked(), self._words("the installation failed"):
            cache = self._open(files)
            wanted = aptplan.mark(cache, names, files)
            aptplan.refuse(cache, wanted, dpkg.architectures(self.guest), self.line)
            if cache.get_changes():
                self._commit(cache, "packages")
        self._settled(wanted)

    def purge(self, names: Sequence[str]) -> None:
        """Remove exactly these packages (`name:arch`) with their configuration.

        By dpkg, which needs no archive, works where the state is broken, and refuses where any
        other package needs one of them. Absent ones are passed over.
        """
        there = self.installed()
        names = [name for name in names if name in there]
        if not names:
            return
        plain = [name[: -len(":all")] if name.endswith(":all") else name for name in names]
        self.wait()
        force = ["--force-remove-reinstreq"]
        if dpkg.protected(self.guest, names):  # they were not there before: nothing needs them
            force.append("--force-remove-protected")
        status, child = self._dpkg(*force, "--purge", *plain)
        left = sorted(set(names) & set(self.installed()))
        if status or left:
            raise PvprepError(
                f"dpkg --purge failed, these are left: {', '.join(left) or 'none'}; "
                f"{child.explain()}",
                f"mend what it says, then `dpkg --purge {' '.join(plain)}`",
            )

    def mend(self) -> None:
        """Finish what was left half done: `dpkg --configure -a`, then apt's repair if need be.

        Where it raises PvprepError the broken packages may be the very ones that an undo purges:
        that is worth trying still.
        """
        self.wait()
        _, child = self._dpkg("--force-confold", "--configure", "-a")
        if dpkg.broken(self.guest):
            with contextlib.suppress(PvprepError):
                self._repair()
        unwell = dpkg.broken(self.guest)
        if unwell:
            raise PvprepError(
                f"still broken: {', '.join(entry.full for entry in unwell)}; {child.explain()}",
                "run `dpkg --configure -a` and see what it says",
            )

    def _repair(self) -> None:
        with self._locked(), self._words("the repair failed"):
            cache = self._open()
            cache.fix_broken()
            aptplan.refuse(cache, set(), dpkg.architectures(self.guest), self.line)
            if cache.get_changes():
                self._commit(cache, "repair")

    def _settled(self, wanted: set[str]) -> None:
        unwell = dpkg.broken(self.guest)
        if unwell:
            raise PvprepError(
                f"not installed properly: {', '.join(entry.full for entry in unwell)} "
                f"(for {', '.join(sorted(wanted))})",
                "run `dpkg --configure -a` and see what it says",
            )

    def _open(self, files: Sequence[str] = ()) -> Any:
        """apt's cache; files: package files to know of besides (as `apt-get --with-source`)."""
        configure(self.guest)
        import apt
        import apt_pkg

        apt_pkg.config.clear("APT::Sources::With")
        for file in files:
            apt_pkg.config.set("APT::Sources::With::", file)
        with self._words("apt cannot read its package lists"):
            return apt.Cache()

    def _child(self) -> Child:
        return Child(self.line, self.progress, tree=not self.guest.running)

    def _dpkg(self, *arguments: str) -> tuple[int, Child]:
        child = self._child()

        def work(status: int) -> int:
            return program(self.guest.argv(["dpkg", "--status-fd", str(status), *arguments]))

        return child.run(work), child

    def _commit(self, cache: Any, what: str) -> None:
        """Fetch and install what is marked; the archives are not kept."""
        import apt_pkg

        archives = apt_pkg.config.find_dir("Dir::Cache::Archives")
        before = set(os.listdir(archives))
        try:
            with Held() as held:
                fetching = Fetching(what, self.progress, True, held)
                installing = Installing(self._child(), held)
                with self._words("cannot fetch the packages", fetching, installing):
                    cache.commit(fetching, installing)
        finally:
            for name in set(os.listdir(archives)) - before:
                if name.endswith(".deb"):
                    os.unlink(archives + name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold dpkg's lock, waiting for it."""
        configure(self.guest)
        import apt_pkg

        self.wait()
        with self._words("dpkg's lock cannot be had"):
            self._patiently(apt_pkg.pkgsystem_lock)
        try:
            yield
        finally:
            # It has gone already where apt failed between its two locks.
            with contextlib.suppress(apt_pkg.Error):
                apt_pkg.pkgsystem_unlock()

    def _patiently(self, action: Any) -> None:
        """Do what needs a lock of apt's, again and again until the timeout."""
        import apt
        import apt_pkg

        deadline = time.monotonic() + self.timeout
        told = False
        while True:
            try:
                action()
                return
            except (apt.cache.LockFailedException, apt_pkg.Error) as error:
                busy = isinstance(error, apt.cache.LockFailedException) or dpkg.lock_holder(
                    self.guest
                )
                if not busy or time.monotonic() >= deadline:
                    raise
                if not told:
                    self.line(f"waiting: {error}")
                    told = True
            time.sleep(0.2)

    @contextlib.contextmanager
    def _words(self, what: str, fetching: Any = None, installing: Any = None) -> Iterator[None]:
        """Turn apt's exceptions (SystemError and IOError at bottom) into words."""
        try:
            yield
        except (SystemError, OSError) as error:
            if installing is not None and installing.status:
                raise PvprepError(
                    f"the package manager failed: {installing.child.explain()}",
                    "mend what it says; `dpkg --configure -a` finishes what it left",
                ) from None
            failures = "; ".join(fetching.failures[:3]) if fetching is not None else ""
            message = f"{what}: {failures or str(error).strip()}"
            if fetching is None:
                raise PvprepError(message) from None
            hint = "see to the network and to /etc/apt/sources.list"
            raise _FetchError(message, hint) from None
