"""Chooses, fetches and installs packages by libdnf5. See the package's docstring.

Source: the API reference of libdnf5, its RepoCallbacks and rpm.TransactionCallbacks.
"""

import json
import os
import sys
from typing import Any

import libdnf5

_ACTION = libdnf5.transaction


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


class Keys(libdnf5.repo.RepoCallbacks):  # type: ignore[misc]
    """A key in the guest's own files is imported, as `dnf -y` does; no other is."""

    def repokey_import(self, key_info: Any) -> bool:
        return str(key_info.get_url()).startswith(("file:", "/"))


class Downloading(libdnf5.repo.DownloadCallbacks):  # type: ignore[misc]
    """What libdnf5 calls while it downloads."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status

    def progress(self, user_cb_data: Any, total_to_download: float, downloaded: float) -> int:
        self.status.progress(downloaded, total_to_download, f"download: {downloaded / 1e6:.1f} MB")
        return 0


class Installing(libdnf5.rpm.TransactionCallbacks):  # type: ignore[misc]
    """What libdnf5 calls in a transaction."""

    def __init__(self, status: Status, errors: "list[str]") -> None:
        super().__init__()
        self.status = status
        self.errors = errors

    def elem_progress(self, item: Any, amount: int, total: int) -> None:
        self.status.progress(amount, total, f"Installing {item.get_package().get_nevra()}")

    def unpack_error(self, item: Any) -> None:
        self.errors.append(f"{item.get_package().get_nevra()} could not be unpacked")

    def script_error(self, item: Any, nevra: Any, type: int, return_code: int) -> None:
        self._failed(nevra, type, return_code)

    def script_stop(self, item: Any, nevra: Any, type: int, return_code: int) -> None:
        if return_code:
            self._failed(nevra, type, return_code)

    def _failed(self, nevra: Any, type: int, return_code: int) -> None:
        script = self.script_type_to_string(type)
        name = libdnf5.rpm.to_full_nevra_string(nevra)
        self.errors.append(f"{script} scriptlet of {name} failed ({return_code})")


def open_base(base: Any, names: "list[str]", status: Status, excludes: bool = True) -> "list[Any]":
    """The system's configuration, repositories, plugins and packages, as dnf itself sees them.

    What is given back has to live as long as the base: libdnf5 calls it, Python would free it.
    """
    callbacks = [Downloading(status)]  # type: list[Any]
    base.load_config()
    config = base.get_config()
    # What a kernel recommends the guest did without.
    config.install_weak_deps = False
    # Beside the kernels that are there, all of which stay: kernel-xen is not in dnf's own list.
    config.installonlypkgs = [*config.installonlypkgs, *names]
    config.installonly_limit = 0
    if not excludes:
        config.disable_excludes = ["*"]
    base.setup()
    base.set_download_callbacks(libdnf5.repo.DownloadCallbacksUniquePtr(callbacks[0]))
    sack = base.get_repo_sack()
    sack.create_repos_from_system_configuration()
    for repo in enabled(base):
        callbacks.append(Keys())
        repo.set_callbacks(libdnf5.repo.RepoCallbacksUniquePtr(callbacks[-1]))
    sack.load_repos()
    return callbacks


def enabled(base: Any) -> Any:
    query = libdnf5.repo.RepoQuery(base)
    query.filter_enabled(True)
    query.filter_type(libdnf5.repo.Repo.Type_AVAILABLE)
    return query


def newest(base: Any, name: str) -> Any:
    """The newest package of that name, of the guest's own architecture first; None without one."""
    query = libdnf5.rpm.PackageQuery(base)
    query.filter_available()
    query.filter_name([name])
    query.filter_latest_evr()
    found = list(query)
    arch = base.get_vars().get_value("arch")
    return ([package for package in found if package.get_arch() == arch] or found or [None])[0]


def resolve(base: Any, name: str, status: Status) -> Any:
    """The transaction that installs the newest of that name; raises in words."""
    candidate = newest(base, name)
    if candidate is None:
        raise RuntimeError(why_not(base, name, status))
    goal = libdnf5.base.Goal(base)
    goal.add_rpm_install(candidate)
    transaction = goal.resolve()
    if transaction.get_problems() != libdnf5.base.GoalProblem_NO_PROBLEM:
        problems = [str(text) for text in transaction.get_resolve_logs_as_strings()]
        problems = [text for text in problems if "already installed" not in text]
        if problems:
            raise RuntimeError("; ".join(problems))
    return transaction


def why_not(base: Any, name: str, status: Status) -> str:
    """Why there is no candidate of that name."""
    whole = libdnf5.base.Base()  # the same without excludes; the binding has no flag for a query
    callbacks = open_base(whole, [], status, excludes=False)
    try:
        candidate = newest(whole, name)
        if candidate is None:
            repos = ", ".join(repo.get_id() for repo in enabled(base)) or "there are none"
            return f"{name} is in none of the enabled repositories ({repos})"
        for pattern in base.get_config().excludepkgs:
            query = libdnf5.rpm.PackageQuery(whole)
            query.resolve_pkg_spec(pattern, libdnf5.base.ResolveSpecSettings(), False)
            if query.contains(candidate):
                return f"{candidate.get_nevra()} is excluded by excludepkgs={pattern}"
        return f"{candidate.get_nevra()} is excluded by its repository or by versionlock"
    finally:
        del whole, callbacks  # in this order


def choose(base: Any, names: "list[str]", status: Status) -> "dict[str, Any]":
    """The first that can be installed (or is), or why none can."""
    reasons = []
    for name in names:
        try:
            resolve(base, name, status)
            return {"name": name, "reasons": []}
        except RuntimeError as error:
            reasons.append(str(error))
    return {"name": "", "reasons": reasons}


def fetch(base: Any, name: str, status: Status) -> "tuple[Any, list[str]]":
    """Resolve, refuse, download and check; nothing is changed yet, but keys are imported."""
    transaction = resolve(base, name, status)
    items = list(transaction.get_transaction_packages())
    refuse(items)
    transaction.download()
    result = transaction.test()
    if items and result != transaction.TransactionRunResult_SUCCESS:
        raise RuntimeError(why_failed(transaction, result))
    new = [one for one in items if libdnf5.transaction.transaction_item_action_is_inbound(
        one.get_action())]
    return transaction, [one.get_package().get_package_path() for one in new]


def refuse(items: "list[Any]") -> None:
    """Raise where the plan removes or downgrades anything; tell of the upgrades it needs."""
    actions = {action: [] for action in (
        _ACTION.TransactionItemAction_UPGRADE,
        _ACTION.TransactionItemAction_DOWNGRADE,
        _ACTION.TransactionItemAction_REMOVE,
        _ACTION.TransactionItemAction_REPLACED,
    )}  # type: dict[int, list[Any]]
    for item in items:
        actions.setdefault(item.get_action(), []).append(item.get_package())
    upgraded = {one.get_name() for one in actions[_ACTION.TransactionItemAction_UPGRADE]}
    gone = [
        *actions[_ACTION.TransactionItemAction_DOWNGRADE],
        *actions[_ACTION.TransactionItemAction_REMOVE],
        *(one for one in actions[_ACTION.TransactionItemAction_REPLACED]
          if one.get_name() not in upgraded),
    ]
    if gone:
        names = ", ".join(package.get_nevra() for package in gone)
        raise RuntimeError(f"it would remove or downgrade {names}")
    for package in actions[_ACTION.TransactionItemAction_UPGRADE]:
        print(f"upgrades to {package.get_nevra()}, which is needed; rollback does not undo it")


def why_failed(transaction: Any, result: int) -> str:
    """What libdnf5 says about a transaction that did not go well."""
    words = [*transaction.get_transaction_problems(), *transaction.get_gpg_signature_problems()]
    return "; ".join(words) or transaction.transaction_result_to_string(result)


def install(base: Any, name: str, status: Status) -> None:
    """The transaction; raises where anything in it failed."""
    transaction, _ = fetch(base, name, status)
    errors = []  # type: list[str]
    display = Installing(status, errors)
    transaction.set_callbacks(libdnf5.rpm.TransactionCallbacksUniquePtr(display))
    transaction.set_description("pvprep")
    result = transaction.run()
    for line in transaction.get_rpm_messages():
        print(line)
    if result != transaction.TransactionRunResult_SUCCESS:
        errors.append(why_failed(transaction, result))
    if errors:
        raise RuntimeError("; ".join(errors))


def main() -> int:
    status = Status(int(sys.argv[2]))
    job = json.loads(sys.argv[1])
    try:
        base = libdnf5.base.Base()
        callbacks = open_base(base, job["names"], status)
        answer = None  # type: Any
        if job["do"] == "choose":
            answer = choose(base, job["names"], status)
        elif job["do"] == "fetch":
            answer = {"files": fetch(base, job["names"][0], status)[1]}
        else:
            install(base, job["names"][0], status)
        status.say("answer", json.dumps(answer))
        del base, callbacks  # in this order
    except Exception as error:  # of libdnf5, of a plugin: all are words for a person
        status.say("pmerror", f"dnf:0:{str(error).strip() or type(error).__name__}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
