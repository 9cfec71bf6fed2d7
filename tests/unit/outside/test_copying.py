"""What comes of an offer in a guest: the copy, its index, and how it is told from another."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.outside import sources
from tests.unit.outside.sources import CONFIG, MODULES, TIME, V, files

from pvprep import outside
from pvprep.changes import PlaceKernel
from pvprep.errors import PvprepError
from pvprep.facts import Offer
from pvprep.guest import Guest
from pvprep.outside import copying

FRONTENDS = ("xen-blkfront", "xen-netfront")


class Case:
    """A guest and a source."""

    def __init__(self, base: Path) -> None:
        self.source = base / "source"
        self.root = base / "guest"
        (self.root / "boot").mkdir(parents=True)
        (self.root / "usr/lib/modules").mkdir(parents=True)
        os.symlink("usr/lib", self.root / "lib")
        self.said: list[str] = []

    def offer(self) -> Offer:
        (found,) = outside.offers(Guest(str(self.root)), outside.read(str(self.source)))
        return found

    def gather(self, offer: Offer, **more: Any) -> Path:
        """Where the files are."""
        change = PlaceKernel("s", V, offer.source, offer.modules, offer.boot, FRONTENDS)
        change = PlaceKernel(**{**vars(change), **more})
        (self.root / "usr/lib/modules/.pvprep-1").mkdir(mode=0o700)
        where = "/usr/lib/modules/.pvprep-1"
        outside.gather(Guest(str(self.root)), change, where, self.said.append)
        return self.root / where[1:]

    def settle(self) -> None:
        """As the journal does."""
        offer = self.offer()
        top = self.gather(offer)
        if offer.modules:
            os.rename(top / MODULES, self.root / offer.modules[1:])
        for path in offer.boot:
            os.rename(top / "boot" / os.path.basename(path), self.root / path[1:])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    found = Case(tmp_path)
    sources.root(found.source, files())
    return found


def test_an_offer_says_what_comes_and_how_large_it_is(case: Case) -> None:
    offer = case.offer()
    assert offer.modules == f"/usr/lib/modules/{V}"
    names = [f"/boot/{what}-{V}" for what in ("System.map", "config", "vmlinuz")]
    assert sorted(offer.boot) == names
    assert not offer.there and not offer.clash
    # Six files, a link, five directories; neither `build` nor what leads out, nor depmod's.
    assert offer.files == 5 + 1 + 5
    assert 0 < offer.boot_size < 10 * 4608


def test_the_copy_is_complete_and_root_s(case: Case) -> None:
    (case.source / f"boot/vmlinuz-{V}").chmod(0o4777)
    os.chown(case.source / f"{MODULES}/modules.order", 7, 8)
    os.umask(0o077)
    try:
        top = case.gather(case.offer())
    finally:
        os.umask(0o022)
    for name in files():
        info = os.lstat(top / name)
        assert (top / name).read_bytes() == (case.source / name).read_bytes()
        assert (info.st_uid, info.st_gid, int(info.st_mtime)) == (0, 0, TIME)
    assert stat.S_IMODE(os.lstat(top / f"boot/vmlinuz-{V}").st_mode) == 0o755
    assert stat.S_IMODE(os.lstat(top / f"{MODULES}/kernel").st_mode) == 0o755
    assert os.readlink(top / f"{MODULES}/kernel/drivers/block/alias.ko") == "xen-blkfront.ko"
    for name in ("build", "kernel/out.ko"):
        assert not os.path.lexists(top / MODULES / name)


def test_the_host_s_depmod_makes_the_index(case: Case) -> None:
    top = case.gather(case.offer())
    index = (top / MODULES / "modules.dep").read_text()
    assert "kernel/drivers/block/xen-blkfront.ko:" in index.split("\n")
    assert (top / MODULES / "modules.alias.bin").exists()
    assert any("failed to load symbols" in text for text in case.said)  # they are none, in form


def test_an_old_modprobe_gets_whole_paths(case: Case) -> None:
    old = case.root / "lib/modules/2.6.18-8.el5"
    old.mkdir()
    (old / "modules.dep").write_text("/lib/modules/2.6.18-8.el5/kernel/a.ko:\n")
    top = case.gather(case.offer())
    index = (top / MODULES / "modules.dep").read_text()
    assert f"/lib/modules/{V}/kernel/drivers/block/xen-blkfront.ko:" in index.split("\n")


def test_a_frontend_that_depmod_does_not_find(case: Case) -> None:
    with pytest.raises(PvprepError, match="depmod has found no xenblk"):
        case.gather(case.offer(), frontends=("xen-netfront", "xenblk"))


def test_a_version_that_is_none(tmp_path: Path) -> None:
    case = Case(tmp_path)
    sources.root(case.source, files("6x"))
    offer = case.offer()
    with pytest.raises(PvprepError, match=r"depmod failed for 6x .*Bad version"):
        case.gather(offer, version="6x")


def test_no_depmod_is_said_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outside.check()
    monkeypatch.setattr(copying, "ENVIRONMENT", {"PATH": str(tmp_path)})
    with pytest.raises(PvprepError, match="depmod is not installed"):
        outside.check()


def test_a_source_that_changes_meanwhile(case: Case) -> None:
    offer = case.offer()
    (case.source / f"boot/vmlinuz-{V}").write_bytes(b"another")
    with pytest.raises(PvprepError, match=f"has changed since pvprep read it: vmlinuz-{V}"):
        case.gather(offer)


def test_modules_of_el_have_the_image_with_them(tmp_path: Path) -> None:
    case = Case(tmp_path)
    sources.root(case.source, sources.in_modules())
    top = case.gather(case.offer())
    assert (top / f"boot/config-{V}").read_bytes() == CONFIG
    assert (top / MODULES / "config").read_bytes() == CONFIG
    both = {**sources.in_modules(), f"boot/config-{V}": CONFIG + b"#\n"}
    other = Case(tmp_path / "both")
    sources.root(other.source, both)
    top = other.gather(other.offer())
    assert (top / f"boot/config-{V}").read_bytes() == CONFIG + b"#\n"
    assert (top / MODULES / "config").read_bytes() == CONFIG


@pytest.mark.parametrize("kind", ["root", "deb"])
def test_what_is_there_is_known_again(case: Case, kind: str) -> None:
    if kind == "deb":
        case.source = sources.deb(case.source.with_suffix(".deb"), files())
    case.settle()
    assert case.offer().there
    os.utime(case.root / MODULES / "kernel/drivers/net/xen-netfront.ko")  # the content counts
    (case.root / MODULES / "updates").mkdir()  # nor is more of it another kernel
    (case.root / MODULES / "modules.dep").write_text("of the guest's depmod")
    assert case.offer().there


NET = f"lib/modules/{V}/kernel/drivers/net/xen-netfront.ko"


@pytest.mark.parametrize("kind", ["root", "deb"])
@pytest.mark.parametrize(
    ("path", "content"),
    [(NET, b"other size"), (NET, b"NET"), (NET, None), (f"boot/config-{V}", b"other")],
)
def test_another_kernel_of_the_same_version(
    case: Case, kind: str, path: str, content: bytes
) -> None:
    if kind == "deb":
        case.source = sources.deb(case.source.with_suffix(".deb"), files())
    case.settle()
    if content is None:
        (case.root / path).unlink()
    else:
        (case.root / path).write_bytes(content)
    assert case.offer().clash == f"/{path}".replace("/lib/", "/usr/lib/")
    assert not case.offer().there


def test_modules_that_somebody_copied_get_their_kernel(case: Case) -> None:
    case.settle()
    (case.root / f"boot/vmlinuz-{V}").unlink()
    offer = case.offer()
    assert (offer.modules, list(offer.boot)) == ("", [f"/boot/vmlinuz-{V}"])
    assert (offer.files, offer.modules_size) == (0, 0)
    assert not offer.there and not offer.clash
