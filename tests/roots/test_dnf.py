"""dnf 4 and rpm for real, by dnf's own API in a tree that they manage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guests import chroot, roots, rpmprofiles, rpmroots
from tests.guests.rpmprofiles import RpmProfile
from tests.roots import rpms, trees
from tests.roots.told import Told

from pvprep.changes import InstallPackages
from pvprep.guest import Guest
from pvprep.packages import rpmcheck, rpmdb
from pvprep.packages.dnf import Dnf
from pvprep.packages.rpm import Rpm, find

pytestmark = pytest.mark.roots

OLD, NEW = rpmprofiles.STOCK.release, rpmprofiles.PV_UPDATE.release


@pytest.fixture(scope="session")
def el9(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EL 9 whose kernel cannot boot PV, with a repository that has one; not to be changed."""
    root = tmp_path_factory.mktemp("el9") / "root"
    roots.unpack(rpmroots.build(rpmprofiles.EL9_PV_TO_BE_HAD), root)
    return root


@pytest.fixture
def tree(el9: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return trees.copy(el9, tmp_path / "tree")


def _unpacked(profile: RpmProfile, tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    roots.unpack(rpmroots.build(profile), root)
    return root


def work(root: Path, action: Callable[[Rpm], object], timeout: float = 60) -> Told:
    """Let the tree's manager act; an error is kept, not raised."""

    def act(guest: Guest) -> Told:
        return Told.of(lambda line, progress: Dnf(guest, line, progress, timeout), action)

    return trees.in_tree(root, act)


def install(root: Path, *names: str, files: tuple[Path, ...] = (), timeout: float = 60) -> Told:
    change = InstallPackages("test", names, tuple(map(str, files)))
    return work(root, lambda manager: manager.install(change), timeout)


def keys(root: Path) -> dict[str, str]:
    return {key: one.version for key, one in rpmdb.packages(Guest(str(root))).items()}


def ids(root: Path) -> dict[str, str]:
    """The findings of a check, as id -> message."""
    return {found.id: found.message for found in rpmcheck.check(Guest(str(root)))}


def test_the_manager_is_found(tree: Path) -> None:
    quiet = (lambda _line: None, lambda _fraction, _text: None)
    assert type(find(Guest(str(tree)), "redhat", *quiet)) is Dnf
    (tree / "usr/bin/dnf").unlink()
    assert type(find(Guest(str(tree)), "redhat", *quiet)) is Rpm


def test_a_kernel_comes_beside_the_old_one_and_goes(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ids(tree) == {}
    before, names = keys(tree), rpms.installed(tree)
    verified = chroot.run(tree, ["sh", "-c", "rpm -Va || true"])
    told = install(tree, "kernel")
    assert told.error is None
    new = set(told.installed) - set(before)
    parts = ("", "-core", "-modules-core", "-modules")
    assert new == {f"kernel{part}-{NEW}" for part in parts}
    assert {key: told.installed[key] for key in before} == before, "the old one under its old key"
    assert (tree / f"boot/vmlinuz-{OLD}").exists()
    assert (tree / f"boot/vmlinuz-{NEW}").exists()
    done = [f for f, text in told.progress if f is not None and text.startswith("Installing")]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert not (tree / rpmdb.INCOMING.lstrip("/")).exists()
    purged = work(tree, lambda manager: manager.purge([*new, "neverseen.noarch"]))
    assert purged.error is None
    assert purged.installed == before
    assert rpms.installed(tree) == names
    assert chroot.run(tree, ["sh", "-c", "rpm -Va || true"]) == verified
    assert not list((tree / "boot").glob(f"*{NEW}*"))
    assert not (tree / "lib/modules" / NEW).exists()
    assert capfd.readouterr() == ("", "")


def test_a_kernel_that_dnf_would_replace_stays_too(tree: Path) -> None:
    """kernel-xen of EL 5 is not in installonlypkgs and does not say that it should be."""
    first, second = (rpms.package(tree, "kernel-xen", version) for version in "12")
    rpms.install(tree, first)
    rpms.repository(tree, second)
    told = install(tree, "kernel-xen")
    assert told.error is None
    assert told.installed["kernel-xen.noarch"] == "1-1"
    assert told.installed["kernel-xen-2-1.noarch"] == "2-1"


def test_more_kernels_than_the_limit_all_stay(tree: Path) -> None:
    """dnf.conf says installonly_limit=3."""
    old = [rpms.package(tree, "kernel-x", version, Provides="installonlypkg(kernel)")
           for version in "123"]  # fmt: skip
    rpms.install(tree, *old)
    rpms.repository(
        tree, rpms.package(tree, "kernel-x", "4", Provides="installonlypkg(kernel)")
    )
    told = install(tree, "kernel-x")
    assert told.error is None
    assert len([key for key in told.installed if key.startswith("kernel-x")]) == 4


def test_the_first_name_that_can_be_had_is_chosen(tree: Path) -> None:
    told = work(tree, lambda manager: manager.choose(["kernel-ml", "kernel"]))
    assert told.error is None
    assert told.answer == "kernel"
    told = work(tree, lambda manager: manager.choose(["kernel-ml", "kernel-lt"]))
    assert told.error is not None
    assert "kernel-ml is in none of the enabled repositories (baseos)" in told.error.message
    assert "--kernel-package" in told.error.hint


@pytest.mark.parametrize(
    ("path", "line", "reason"),
    [
        ("etc/dnf/dnf.conf", "excludepkgs=kernel-d*, kernel", "excludepkgs=kernel in /etc/dnf/dnf"),
        ("etc/yum.repos.d/almalinux-baseos.repo", "excludepkgs=kernel", "in /etc/yum.repos.d/almalinux-baseos.repo"),
        ("etc/dnf/plugins/versionlock.list", f"kernel-0:{OLD[:-7]}.*", "perhaps by versionlock"),
    ],
)
def test_an_excluded_kernel_is_reported_and_left_alone(
    tree: Path, path: str, line: str, reason: str
) -> None:
    with (tree / path).open("a") as file:
        file.write(f"\n{line}\n")
    assert ids(tree) == {"rpm.excluded": "kernel packages are kept back, and left alone"}
    before = keys(tree)
    told = work(tree, lambda manager: manager.choose(["kernel"]))
    assert told.error is not None
    assert f"kernel-{NEW} is excluded" in told.error.message
    assert reason in told.error.message
    told = install(tree, "kernel")
    assert told.error is not None
    assert told.installed == before


@pytest.mark.parametrize(
    ("profile", "reason"),
    [(rpmprofiles.EL9_OTHER_KEY, "not installed"), (rpmprofiles.EL9_UNSIGNED, "not signed")],
)
def test_a_bad_or_missing_signature_is_refused(
    tmp_path: Path, profile: RpmProfile, reason: str
) -> None:
    tree = _unpacked(profile, tmp_path)
    before = keys(tree)
    told = install(tree, "kernel")
    assert told.error is not None
    assert told.error.message.startswith("dnf cannot fetch kernel: ")
    assert told.installed == before
    assert not list((tree / "boot").glob(f"vmlinuz-{rpmprofiles.PV.release}"))


def test_a_key_in_the_guests_own_files_is_taken_and_goes_again(tree: Path) -> None:
    """As on a system on which nothing has been installed from that repository yet."""
    before = rpms.installed(tree)
    (key,) = (name for name in before if name.startswith("gpg-pubkey"))
    chroot.run(tree, ["rpm", "-e", key])
    told = install(tree, "kernel")
    assert told.error is None
    assert key in rpms.installed(tree)
    new = [name for name in told.installed if NEW in name or name.startswith("gpg-pubkey")]
    assert work(tree, lambda manager: manager.purge(new)).error is None
    assert rpms.installed(tree) == before - {key}


def test_a_plan_that_removes_a_package_is_refused(tree: Path) -> None:
    rpms.install(tree, rpms.package(tree, "precious"))
    rpms.repository(
        tree,
        rpms.package(tree, "conflicting", Conflicts="precious"),
        rpms.package(tree, "obsoleting", Obsoletes="precious"),
    )
    for name in ("conflicting", "obsoleting"):
        told = install(tree, name)
        assert told.error is not None
        assert "precious" in told.error.message
        assert "precious.noarch" in told.installed
        assert f"{name}.noarch" not in told.installed


def test_only_what_is_needed_is_upgraded(tree: Path) -> None:
    rpms.install(tree, rpms.package(tree, "firmware"), rpms.package(tree, "unrelated"))
    newer = [rpms.package(tree, name, "2") for name in ("firmware", "unrelated")]
    weak = rpms.package(tree, "weak")
    needy = rpms.package(tree, "needy", Requires="firmware >= 2", Recommends="weak")
    rpms.repository(tree, *newer, weak, needy)
    told = install(tree, "needy")
    assert told.error is None
    assert told.installed["firmware.noarch"] == "2-1"
    assert told.installed["unrelated.noarch"] == "1-1"
    assert "weak.noarch" not in told.installed
    assert "upgrades firmware-1-1.noarch, which is needed; rollback does not undo it" in told.lines


@pytest.mark.parametrize("section", ["pre", "post", "posttrans"])
def test_a_failing_script_is_an_error(tree: Path, section: str) -> None:
    before = rpms.installed(tree)
    script = {section: "echo what is wrong >&2\nexit 1"}
    broken = rpms.package(tree, "broken", files=("/usr/share/broken/x",), scripts=script)
    rpms.repository(tree, broken)
    for told in (install(tree, "broken"), install(tree, files=(broken,))):
        assert told.error is not None
        assert "scriptlet" in told.error.message
        assert "broken" in told.error.message
        assert any("what is wrong" in line for line in told.lines)
        purged = work(tree, lambda manager: (manager.purge(["broken.noarch"]), manager.mend()))
        assert purged.error is None
        assert rpms.installed(tree) == before
        assert not (tree / "usr/share/broken").exists()
    assert not (tree / rpmdb.INCOMING.lstrip("/")).exists()


def test_a_package_file_needs_no_repository_and_replaces_nothing(tree: Path) -> None:
    for path in (tree / "etc/yum.repos.d").iterdir():
        path.unlink()
    assert list(ids(tree)) == ["rpm.sources"]
    two, one, three = (rpms.package(tree, "kernel-xen", version) for version in "213")
    files = tuple((tree / "srv/repos/baseos").rglob(f"kernel*{NEW}.rpm"))
    told = install(tree, files=(*files, two))
    assert told.error is None
    assert f"kernel-core-{NEW}" in told.installed
    assert (tree / f"boot/vmlinuz-{NEW}").exists()
    for file, key in ((one, "kernel-xen-1-1.noarch"), (three, "kernel-xen-3-1.noarch")):
        assert key in install(tree, files=(file,)).installed
    again = install(tree, files=(*files, two))
    assert (again.error, again.lines) == (None, []), "nothing to do the second time"


def test_what_a_package_file_lacks_is_named(tree: Path, tmp_path: Path) -> None:
    needy = rpms.package(tree, "needy", Requires="never-heard-of")
    told = install(tree, files=(needy,))
    assert told.error is not None
    assert "never-heard-of is needed by needy-1-1.noarch" in told.error.message
    assert "needy.noarch" not in told.installed
    (tmp_path / "kernel.rpm").write_bytes(b"not an archive\n" * 100)
    told = install(tree, files=(tmp_path / "kernel.rpm",))
    assert told.error is not None
    assert "kernel.rpm" in told.error.message


def test_an_unsigned_file_counts_as_dnf_is_told(tree: Path) -> None:
    file = rpms.package(tree, "unsigned")
    with (tree / "etc/dnf/dnf.conf").open("a") as config:
        config.write("localpkg_gpgcheck=1\n")
    told = install(tree, files=(file,))
    assert told.error is not None
    assert "unsigned" in told.error.message
    assert "unsigned.noarch" not in told.installed


def test_a_purge_takes_no_other_package_along(tree: Path) -> None:
    rpms.install(tree, rpms.package(tree, "wheel"), rpms.package(tree, "cart", Requires="wheel"))
    told = work(tree, lambda manager: manager.purge(["wheel.noarch"]))
    assert told.error is not None
    assert "wheel is needed by" in told.error.message
    assert {"cart.noarch", "wheel.noarch"} <= set(told.installed)


def test_scripts_find_nobody_to_ask_and_a_clean_environment(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN_FROM_OUTSIDE", "1")
    script = "env > /saw; readlink /proc/self/fd/0 >> /saw; read answer || echo nobody >> /saw"
    rpms.repository(tree, rpms.package(tree, "curious", scripts={"post": script}))
    assert install(tree, "curious").error is None
    saw = (tree / "saw").read_text().splitlines()
    assert not [line for line in saw if line.startswith("SEEN_FROM")]
    assert "nobody" in saw


# Holds rpm's lock as a transaction does, or dnf's, in the tree.
_HOLD_RECORD = (
    "import fcntl, sys, time\n"
    "file = open(sys.argv[1], 'w')\n"
    "fcntl.lockf(file, fcntl.LOCK_EX)\n"
    "print('held', flush=True)\n"
    "time.sleep(float(sys.argv[2]))\n"
)
_HOLD_PID = (
    "import os, sys, time\n"
    "os.chroot(sys.argv[3])\n"
    "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
    "print('held', flush=True)\n"
    "time.sleep(float(sys.argv[2]))\n"
    "os.unlink(sys.argv[1])\n"
)


def _hold(tree: Path, kind: str, seconds: float) -> subprocess.Popen[str]:
    script, lock = (
        (_HOLD_RECORD, str(tree / "var/lib/rpm/.rpm.lock"))
        if kind == "rpm"
        else (_HOLD_PID, "/var/lib/dnf/rpmdb_lock.pid")
    )
    argv = [sys.executable, "-c", script, lock, str(seconds), str(tree)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("kind", ["rpm", "dnf"])
def test_a_lock_is_reported_with_its_holder(tree: Path, kind: str) -> None:
    file = rpms.package(tree, "cart")
    with _hold(tree, kind, 60) as holder:
        assert f"process {holder.pid} (" in ids(tree)["rpm.locked"]
        told = install(tree, files=(file,), timeout=0.5)
        holder.kill()
    assert told.error is not None
    assert f"rpm is still in use by process {holder.pid}" in told.error.message
    assert "cart.noarch" not in told.installed
    assert ids(tree) == {}


@pytest.mark.parametrize("kind", ["rpm", "dnf"])
def test_a_lock_is_waited_for(tree: Path, kind: str) -> None:
    file = rpms.package(tree, "cart")
    began = time.monotonic()
    with _hold(tree, kind, 2) as holder:
        told = install(tree, files=(file,))
    assert told.error is None
    assert time.monotonic() - began >= 2
    (waiting,) = [line for line in told.lines if line.startswith("waiting for ")]
    assert str(holder.pid) in waiting


def test_a_damaged_database_is_said_before_anything_changes(tree: Path) -> None:
    (tree / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"no database\n" * 1000)
    told = work(tree, lambda manager: manager.wait())
    assert told.error is not None
    assert told.error.message.startswith("rpm cannot read its database: ")
    assert "--rebuilddb" in told.error.hint


def test_what_a_killed_transaction_unpacked_is_swept_away(tree: Path) -> None:
    """rpm notes a package when its files are there: a kill in between leaves them to nobody."""
    many = tuple(f"/usr/share/many/{number:04}" for number in range(4000))
    before = rpms.installed(tree)
    stop = "/usr/share/many/0000"
    rpms.repository(tree, rpms.package(tree, "many", files=many))
    pid = os.fork()
    if pid == 0:
        os.setsid()
        install(tree, "many")
        os._exit(0)
    place = tree / stop.lstrip("/")
    while not list(place.parent.glob("0000*")):
        time.sleep(0.001)
    _kill_all_in(tree, pid)
    assert rpms.installed(tree) == before
    assert list(place.parent.iterdir()), "else this tests nothing"
    told = work(tree, lambda manager: manager.mend())
    assert told.error is None
    assert not place.parent.exists()
    assert not (tree / rpmdb.INCOMING.lstrip("/")).exists()


def _kill_all_in(tree: Path, pid: int) -> None:
    """Everything that works on the tree, and who started it."""
    os.kill(pid, signal.SIGKILL)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "root").startswith(str(tree)):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue
    os.waitpid(pid, 0)
