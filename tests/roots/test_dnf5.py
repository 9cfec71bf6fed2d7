"""dnf 5 for real, by libdnf5 in a tree of a Debian that has it; rpm there is the newest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.roots import bare, rpms, trees
from tests.roots.told import Told

from pvprep.changes import InstallPackages
from pvprep.guest import Guest
from pvprep.packages import rpmdb
from pvprep.packages.dnf import Dnf5
from pvprep.packages.rpm import Rpm, find

pytestmark = pytest.mark.roots


@pytest.fixture(scope="session")
def fedora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with dnf 5, and a kernel-xen 1 that no configuration keeps; not to be changed."""
    packages = ("dnf5", "python3-libdnf5")
    root = bare.make("forky", packages, tmp_path_factory.mktemp("fedora") / "root")
    (root / "usr/bin/dnf").symlink_to("dnf5")
    one, two = (rpms.package(root, "kernel-xen", version) for version in "12")
    rpms.install(root, one)
    rpms.repository(root, two)
    return root


@pytest.fixture
def tree(fedora: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, to be changed."""
    with trees.layer(fedora, tmp_path / "memory") as tree:
        yield tree


def work(root: Path, action: Callable[[Rpm], object]) -> Told:
    def act(guest: Guest) -> Told:
        return Told.of(lambda line, progress: Dnf5(guest, line, progress), action)

    return trees.in_tree(root, act)


def install(root: Path, *names: str, files: tuple[Path, ...] = ()) -> Told:
    change = InstallPackages("test", names, tuple(map(str, files)))
    return work(root, lambda manager: manager.install(change))


def test_the_manager_is_found(tree: Path) -> None:
    quiet = (lambda _line: None, lambda _fraction, _text: None)
    assert type(find(Guest(str(tree)), "redhat", *quiet)) is Dnf5
    shutil.rmtree(tree / "usr/lib/python3/dist-packages/libdnf5")
    assert type(find(Guest(str(tree)), "redhat", *quiet)) is Rpm


def test_a_kernel_comes_beside_the_old_one_and_goes(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = rpms.installed(tree)
    told = install(tree, "kernel-xen")
    assert told.error is None
    assert told.installed["kernel-xen.noarch"] == "1-1"
    assert told.installed["kernel-xen-2-1.noarch"] == "2-1"
    assert any("Installing kernel-xen-2-1.noarch" in text for _, text in told.progress)
    assert not (tree / rpmdb.INCOMING.lstrip("/")).exists()
    purged = work(tree, lambda manager: manager.purge(["kernel-xen-2-1.noarch"]))
    assert purged.error is None
    assert rpms.installed(tree) == before
    assert capfd.readouterr() == ("", "")


def test_the_first_name_that_can_be_had_is_chosen(tree: Path) -> None:
    assert work(tree, lambda manager: manager.choose(["kernel", "kernel-xen"])).answer == (
        "kernel-xen"
    )
    told = work(tree, lambda manager: manager.choose(["kernel", "kernel-lt"]))
    assert told.error is not None
    assert "kernel-lt is in none of the enabled repositories (extra)" in told.error.message


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("etc/dnf/dnf.conf", "[main]\nexcludepkgs=kernel*\n", "excludepkgs=kernel*"),
        ("etc/dnf/versionlock.toml", 'version = "1.0"\n[[packages]]\nname = "kernel-xen"\n'
         '[[packages.conditions]]\nkey = "evr"\ncomparator = "="\nvalue = "1-1"\n',
         "its repository or by versionlock"),
    ],
)  # fmt: skip
def test_an_excluded_kernel_is_reported(tree: Path, path: str, text: str, reason: str) -> None:
    (tree / path).write_text(text)
    told = work(tree, lambda manager: manager.choose(["kernel-xen"]))
    assert told.error is not None
    assert f"kernel-xen-2-1.noarch is excluded by {reason}" in told.error.message


def test_a_missing_signature_is_refused(tree: Path) -> None:
    unsigned = rpms.package(tree, "kernel-xen", "3")
    rpms.repository(tree, unsigned, more="gpgcheck=1\npkg_gpgcheck=1\n")
    told = install(tree, "kernel-xen")
    assert told.error is not None
    assert told.error.message.startswith("dnf cannot fetch kernel-xen: ")
    assert "not signed" in told.error.message


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


@pytest.mark.parametrize("section", ["pre", "post", "posttrans"])
def test_a_failing_script_is_an_error(tree: Path, section: str) -> None:
    before = rpms.installed(tree)
    script = {section: "echo what is wrong >&2\nexit 1"}
    rpms.repository(
        tree, rpms.package(tree, "broken", files=("/usr/share/broken/x",), scripts=script)
    )
    told = install(tree, "broken")
    assert told.error is not None
    assert "broken" in told.error.message
    purged = work(tree, lambda manager: (manager.purge(["broken.noarch"]), manager.mend()))
    assert purged.error is None
    assert rpms.installed(tree) == before
    assert not (tree / "usr/share/broken").exists()


def test_a_package_file_replaces_nothing(tree: Path) -> None:
    told = install(tree, files=(rpms.package(tree, "kernel-xen", "3"),))
    assert told.error is None
    assert {"kernel-xen.noarch", "kernel-xen-3-1.noarch"} <= set(told.installed)
