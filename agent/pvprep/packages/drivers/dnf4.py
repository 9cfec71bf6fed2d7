"""Chooses, fetches and installs packages by dnf 4's API. See the package's docstring.

Source: dnf's API reference, and dnf/base.py on what raises: a failing scriptlet does not.
"""

import json
import logging
import os
import sys
from typing import Any

import dnf
import dnf.callback
import dnf.exceptions
import dnf.transaction
import hawkey


class HarmError(dnf.exceptions.Error):  # type: ignore[misc]
    """The plan does what nobody asked for."""


class Status:
    """The pipe that child.py reads."""

    def __init__(self, fd: int) -> None:
        self.pipe = os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape")

    def say(self, kind: str, text: str) -> None:
        line = "; ".join(text.split("\n"))
        self.pipe.write(f"{kind}:{line}\n")
        self.pipe.flush()

    def progress(self, done: float, total: float, text: str) -> None:
        self.say("pmstatus", f"dnf:{100 * done / total if total else 0:.1f}:{text}")


class Downloading(dnf.callback.DownloadProgress):  # type: ignore[misc]
    """What dnf calls while it downloads."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status
        self.total = 0
        self.done = {}  # type: dict[str, int]

    def start(self, total_files: int, total_size: int, total_drpms: int = 0) -> None:
        self.total = total_size

    def progress(self, payload: Any, done: int) -> None:
        self.done[str(payload)] = done
        size = sum(self.done.values())
        self.status.progress(size, self.total, f"packages: {size / 1e6:.1f} MB")

    def end(self, payload: Any, status: int, err_msg: str) -> None:
        if err_msg:
            logging.warning("%s: %s", payload, err_msg)


class Installing:
    """What dnf calls in a transaction (dnf.callback.TransactionProgress)."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.errors = []  # type: list[str]

    def progress(
        self, package: Any, action: Any, ti_done: Any, ti_total: Any, ts_done: Any, ts_total: Any
    ) -> None:
        if package and ts_total:
            doing = dnf.transaction.ACTIONS.get(action, "")
            self.status.progress(ts_done, ts_total, f"{doing} {package}")

    def scriptout(self, messages: Any) -> None:
        """dnf's own logger has them."""

    def filelog(self, package: Any, action: Any) -> None:
        """The same."""

    def verify_tsi_package(self, package: Any, count: int, total: int) -> None:
        """Nothing is verified any more."""

    def error(self, message: str) -> None:
        self.errors.append(message)


def open_base(base: Any, names: "list[str]") -> None:
    """The system's configuration, repositories, plugins and packages, as dnf itself sees them."""
    conf = base.conf
    conf.read()
    conf.substitutions.update_from_etc(conf.installroot, varsdir=conf.varsdir)
    if conf.releasever is None:
        conf.releasever = ""  # as dnf's own command does
    # What a kernel recommends the guest did without.
    conf.install_weak_deps = False
    # Beside the kernels that are there, all of which stay: kernel-xen is not in dnf's own list.
    conf.installonlypkgs = list(conf.installonlypkgs) + names
    conf.installonly_limit = 0
    base.init_plugins()
    base.pre_configure_plugins()
    base.read_all_repos()
    base.configure_plugins()
    base.fill_sack()


def choose(base: Any, names: "list[str]") -> "dict[str, Any]":
    """The first that can be installed (or is), or why none can."""
    reasons = []
    for name in names:
        candidate = newest(base.sack.query().available(), name, base)
        if candidate is None:
            reasons.append(why_not(base, name))
            continue
        try:
            base.package_install(candidate)
            base.resolve()
            return {"name": name, "reasons": []}
        except dnf.exceptions.Error as error:
            reasons.append(f"{name}: {str(error).strip()}")
        base.reset(goal=True)
    return {"name": "", "reasons": reasons}


def newest(query: Any, name: str, base: Any) -> Any:
    """The newest package of that name, of the guest's own architecture first; None without one."""
    found = list(query.filter(name=name).latest())
    own = [package for package in found if package.arch == base.conf.substitutions["arch"]]
    return (own or found or [None])[0]


def why_not(base: Any, name: str) -> str:
    """Why there is no candidate of that name."""
    candidate = newest(base.sack.query(flags=hawkey.IGNORE_EXCLUDES).available(), name, base)
    if candidate is None:
        repos = ", ".join(repo.id for repo in base.repos.iter_enabled()) or "there are none"
        return f"{name} is in none of the enabled repositories ({repos})"
    lists = [(base.conf.excludepkgs, base.conf.config_file_path)]
    lists += [(repo.excludepkgs, repo.repofile) for repo in base.repos.iter_enabled()]
    for patterns, path in lists:
        for pattern in patterns:
            subject = dnf.subject.Subject(pattern)
            query = base.sack.query(flags=hawkey.IGNORE_EXCLUDES)
            if subject.get_best_query(base.sack, query=query).filter(pkg=[candidate]):
                return f"{candidate} is excluded by excludepkgs={pattern} in {path}"
    return f"{candidate} is excluded, perhaps by versionlock or a module"


def fetch(base: Any, name: str, status: Status) -> "dict[str, Any]":
    """Resolve, refuse, download and check; nothing is changed yet, but keys are imported."""
    candidate = newest(base.sack.query().available(), name, base)
    if candidate is None:
        raise dnf.exceptions.Error(why_not(base, name))
    base.package_install(candidate)
    base.resolve()
    refuse(base.transaction)
    new = list(base.transaction.install_set)
    base.download_packages(new, Downloading(status))
    for package in new:
        check_signature(base, package)
    return {"files": [package.localPkg() for package in new]}


def refuse(transaction: Any) -> None:
    """Raise where the plan removes or downgrades anything; tell of the upgrades it needs."""
    gone = [
        str(item)
        for item in transaction
        if item.action in dnf.transaction.BACKWARD_ACTIONS
        and item.action != dnf.transaction.PKG_UPGRADED
    ]
    if gone:
        raise HarmError(f"it would remove or downgrade {', '.join(gone)}")
    for item in transaction:
        if item.action == dnf.transaction.PKG_UPGRADED:
            logging.warning("upgrades %s, which is needed; rollback does not undo it", item)


def check_signature(base: Any, package: Any) -> None:
    """Raise where a signature that the repository's gpgcheck asks for is bad or missing.

    A key that the guest's own files hold for that repository is imported, as `dnf -y` does; one
    from elsewhere is a person's decision.
    """
    result, message = base.package_signature_check(package)
    if result == 1:
        base.package_import_key(
            package, fullaskcb=lambda key: key["keyurl"].startswith(("file:", "/"))
        )
    elif result:
        raise dnf.exceptions.Error(message)


def install(base: Any, name: str, status: Status) -> None:
    """The transaction; raises where anything in it failed."""
    fetch(base, name, status)
    display = Installing(status)
    base.do_transaction(display)
    missing = [str(item) for item in base.transaction if item.state != 1]
    if missing:
        display.errors.append(f"not done: {', '.join(missing)}")
    if display.errors:
        raise dnf.exceptions.Error("; ".join(display.errors))


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    status = Status(int(sys.argv[2]))
    job = json.loads(sys.argv[1])
    try:
        with dnf.Base() as base:
            open_base(base, job["names"])
            answer = None  # type: Any
            if job["do"] == "choose":
                answer = choose(base, job["names"])
            elif job["do"] == "fetch":
                answer = fetch(base, job["names"][0], status)
            else:
                install(base, job["names"][0], status)
        status.say("answer", json.dumps(answer))
    except Exception as error:  # of dnf, of hawkey, of a plugin: all are words for a person
        status.say("pmerror", f"dnf:0:{str(error).strip() or type(error).__name__}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
