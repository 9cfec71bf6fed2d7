"""zypper for real, in a Debian tree: the database, the repository and the packages are rpm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests import chroot
from tests.roots import bare, rpms, trees
from tests.roots.told import Told

from pvprep.changes import InstallPackages
from pvprep.guest import Guest
from pvprep.packages import rpmcheck, rpmdb
from pvprep.packages.rpm import Rpm, find
from pvprep.packages.zypper import Zypper

pytestmark = pytest.mark.roots

MULTI = {"Provides": "multiversion(kernel)"}


@pytest.fixture(scope="session")
def suse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with zypper, and a kernel-default 1 that SUSE's zypp.conf keeps; not to be changed."""
    root = bare.make("bookworm", ("zypper",), tmp_path_factory.mktemp("suse") / "root")
    multiversion = "[main]\nmultiversion = provides:multiversion(kernel)\n"
    (root / "etc/zypp/zypp.conf").write_text(multiversion)
    script = {"post": "touch /boot/vmlinuz-2"}
    one, two = (
        rpms.package(root, "kernel-default", version, scripts=script, files=(f"/boot/{version}",),
                     **MULTI)
        for version in "12"
    )  # fmt: skip
    rpms.install(root, one)
    rpms.repository(root, two)
    (root / "etc/yum.repos.d/extra.repo").rename(root / "etc/zypp/repos.d/extra.repo")
    return root


@pytest.fixture
def tree(suse: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, to be changed."""
    with trees.layer(suse, tmp_path / "memory") as tree:
        yield tree


def offer(root: Path, *packages: Path) -> None:
    rpms.repository(root, *packages)
    (root / "etc/yum.repos.d/extra.repo").unlink()


def work(root: Path, action: Callable[[Rpm], object], timeout: float = 60) -> Told:
    def act(guest: Guest) -> Told:
        return Told.of(lambda line, progress: Zypper(guest, line, progress, timeout), action)

    return trees.in_tree(root, act)


def install(root: Path, *names: str, files: tuple[Path, ...] = ()) -> Told:
    change = InstallPackages("test", names, tuple(map(str, files)))
    return work(root, lambda manager: manager.install(change))


def test_the_manager_is_found(tree: Path) -> None:
    quiet = (lambda _line: None, lambda _fraction, _text: None)
    assert type(find(Guest(str(tree)), "suse", *quiet)) is Zypper


def test_a_kernel_comes_beside_the_old_one_and_goes(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = rpms.installed(tree)
    assert rpmcheck.check(Guest(str(tree))) == []
    told = install(tree, "kernel-default")
    assert told.error is None
    assert told.installed["kernel-default.noarch"] == "1-1"
    assert told.installed["kernel-default-2-1.noarch"] == "2-1"
    assert (1.0, "(1/1) Installing: kernel-default-2-1.noarch") in told.progress
    assert not [line for line in told.lines if line.startswith("<")]
    assert not (tree / rpmdb.INCOMING.lstrip("/")).exists()
    purged = work(tree, lambda manager: manager.purge(["kernel-default-2-1.noarch"]))
    assert purged.error is None
    assert rpms.installed(tree) == before
    assert capfd.readouterr() == ("", "")


def test_where_zypper_would_replace_the_kernel_it_is_refused(tree: Path) -> None:
    (tree / "etc/zypp/zypp.conf").write_text("[main]\n")
    told = install(tree, "kernel-default")
    assert told.error is not None
    assert "in the place of the kernel" in told.error.message
    assert "multiversion" in told.error.hint
    assert told.installed["kernel-default.noarch"] == "1-1"


def test_the_first_name_that_can_be_had_is_chosen(tree: Path) -> None:
    told = work(tree, lambda manager: manager.choose(["kernel-xen", "kernel-default"]))
    assert told.answer == "kernel-default"
    told = work(tree, lambda manager: manager.choose(["kernel-xen"]))
    assert told.error is not None
    assert "kernel-xen: No provider of 'kernel-xen' found." in told.error.message


@pytest.mark.parametrize("check", ["gpgcheck=1\n", "pkg_gpgcheck=1\nrepo_gpgcheck=0\n"])
def test_what_nobody_has_signed_is_refused(tree: Path, check: str) -> None:
    listed = tree / "etc/zypp/repos.d/extra.repo"
    listed.write_text(listed.read_text().replace("gpgcheck=0\n", check))
    before = rpms.installed(tree)
    told = install(tree, "kernel-default")
    assert told.error is not None
    assert any("sign" in text.lower() for text in (told.error.message, *told.lines)), told
    assert rpms.installed(tree) == before
    assert not (tree / "boot/2").exists()


def test_a_lock_on_packages_is_reported_and_respected(tree: Path) -> None:
    chroot.run(tree, ["zypper", "--non-interactive", "addlock", "kernel-default"])
    (found,) = rpmcheck.check(Guest(str(tree)))
    assert found.id == "rpm.excluded"
    told = work(tree, lambda manager: manager.choose(["kernel-default"]))
    assert told.error is not None
    assert "remove lock to allow installation of kernel-default-2-1.noarch" in told.error.message


def test_a_plan_that_removes_a_package_is_refused(tree: Path) -> None:
    rpms.install(tree, rpms.package(tree, "precious"))
    offer(
        tree,
        rpms.package(tree, "conflicting", Conflicts="precious"),
        rpms.package(tree, "obsoleting", Obsoletes="precious", Provides="precious"),
    )
    for name in ("conflicting", "obsoleting"):
        told = install(tree, name)
        assert told.error is not None
        assert "precious" in told.error.message
        assert "precious.noarch" in told.installed
        assert f"{name}.noarch" not in told.installed


@pytest.mark.parametrize("section", ["pre", "post", "posttrans"])
def test_a_failing_script_is_an_error(tree: Path, section: str) -> None:
    before = rpms.installed(tree)
    script = {section: "echo what is wrong >&2\nexit 1"}
    offer(tree, rpms.package(tree, "broken", files=("/usr/share/broken/x",), scripts=script))
    told = install(tree, "broken")
    assert told.error is not None, told.text
    assert "broken" in told.error.message
    assert any("what is wrong" in line for line in told.lines)
    purged = work(tree, lambda manager: (manager.purge(["broken.noarch"]), manager.mend()))
    assert purged.error is None
    assert rpms.installed(tree) == before
    assert not (tree / "usr/share/broken").exists()


def test_a_package_file_replaces_nothing(tree: Path) -> None:
    told = install(tree, files=(rpms.package(tree, "kernel-xen", "1"),))
    told = install(tree, files=(rpms.package(tree, "kernel-xen", "2"),))
    assert told.error is None
    assert {"kernel-xen.noarch", "kernel-xen-2-1.noarch"} <= set(told.installed)
