"""What stops a conversion before it changes anything."""

from __future__ import annotations

import dataclasses

import pytest
from tests.unit import building
from tests.unit.building import GIB, guest, ids, kernel, run, said

from pvprep.facts import Distro, File, Space, Virt
from pvprep.findings import Finding, Level

MIB = 1024**2


def room(**free: int) -> dict[str, Space]:
    """Spaces by their directory's last name."""
    paths = {"root": "/", "boot": "/boot", "usr": "/usr", "lib": "/var/lib"}
    return {
        path: Space(path, free.get(name, 9 * GIB), 99999) for name, path in paths.items()
    }


def test_a_plain_guest_passes() -> None:
    draft = run("preflight", guest())
    assert draft.findings == []
    assert draft.changes() == ()


@pytest.mark.parametrize(
    ("more", "id"),
    [
        ({"system": "freebsd13"}, "host.not-linux"),
        ({"as_root": False}, "host.not-root"),
        ({"distro": Distro("void", like=("arch",))}, "distro.unknown"),
        ({"distro": Distro("")}, "distro.unknown"),
        ({"has_proc": False}, "proc.missing"),
        ({"has_sys": False}, "sys.missing"),
        ({"machine": {"virt": Virt.XEN_DOM0}}, "virt.dom0"),
    ],
)
def test_what_no_system_may_be(more: dict[str, object], id: str) -> None:
    draft = run("preflight", guest(**more))  # type: ignore[arg-type]
    assert ids(draft) == [id]
    assert said(draft, id).level is Level.ERROR
    assert said(draft, id).remedy


@pytest.mark.parametrize(
    ("id", "like", "family"),
    [("raspbian", ("debian",), "debian"), ("eurolinux", ("rhel", "centos", "fedora"), "redhat"),
     ("sle-micro", ("suse",), "suse"), ("rhel", (), "redhat"), ("opensuse-leap", (), "suse")],
)  # fmt: skip
def test_a_derivative_counts_by_id_like(id: str, like: tuple[str, ...], family: str) -> None:
    facts = guest(distro=Distro(id, like=like))
    assert facts.distro.family == family
    assert run("preflight", facts).findings == []


@pytest.mark.parametrize(
    ("distro", "program"),
    [("debian", "apt-get "), ("fedora", "dnf "), ("sles", "zypper ")],
)
def test_what_to_do_is_said_in_the_familys_words(distro: str, program: str) -> None:
    others = {"apt", "dnf", "zypper"} - {program.split("-")[0].strip()}
    facts = guest(distro=Distro(distro), spaces=room(boot=1))
    remedy = said(run("preflight", facts), "boot.full").remedy
    assert program in remedy
    assert not [name for name in others if name in remedy]


def test_the_evidence_is_what_os_release_says() -> None:
    facts = guest(distro=Distro("void", name="Void", like=("a", "b")))
    found = said(run("preflight", facts), "distro.unknown")
    assert found.evidence == "os-release: ID=void ID_LIKE=a b"
    assert found.message.startswith("Void ")


@pytest.mark.parametrize("virt", [Virt.XEN_PV, Virt.XEN_PVH])
def test_a_pv_guest_is_told_so(virt: Virt) -> None:
    found = said(run("preflight", guest(machine={"virt": virt})), "virt.pv-already")
    assert found.level is Level.INFO
    assert virt.value[4:].upper() in found.message


def test_a_read_only_file_system() -> None:
    spaces = {"/boot": Space("/boot", 0, 0, read_only=True)}
    draft = run("preflight", guest(spaces=spaces))
    assert ids(draft) == ["fs.read-only"], "and neither full nor without inodes"
    assert "/boot" in said(draft, "fs.read-only").remedy


@pytest.mark.parametrize(("files", "bad"), [(63, True), (64, False), (0, True), (-1, False)])
def test_inodes(files: int, bad: bool) -> None:
    """-1: a file system that has no fixed number of them (btrfs)."""
    draft = run("preflight", guest(spaces={"/": Space("/", 9 * GIB, files)}))
    assert ids(draft) == (["fs.no-inodes"] if bad else [])


@pytest.mark.parametrize(
    ("free", "found"),
    [
        ({"boot": 10_000_000}, []),
        ({"boot": 9_999_999}, ["boot.full"]),
        ({"lib": 8_000_000 + 16 * MIB}, []),
        ({"lib": 8_000_000 + 16 * MIB - 1}, ["fs.full"]),
        ({"usr": 1}, []),
    ],
)
def test_room_for_a_second_initrd_and_the_journal(free: dict[str, int], found: list[str]) -> None:
    assert ids(run("preflight", guest(spaces=room(**free)))) == found


@pytest.mark.parametrize(
    ("free", "found"),
    [
        ({"boot": 72 * MIB, "usr": 450 * MIB}, []),
        ({"boot": 72 * MIB - 1}, ["boot.full"]),
        ({"usr": 450 * MIB - 1}, ["fs.full"]),
    ],
)
def test_room_for_a_new_kernel(free: dict[str, int], found: list[str]) -> None:
    facts = guest(kernels=[kernel(pv=False)], spaces=room(**free))
    draft = run("preflight", facts)
    assert ids(draft) == found
    if found:
        assert "MiB are needed" in draft.findings[0].message


@pytest.mark.parametrize(
    "path", ["/boot/efi/EFI/Linux/debian.efi", "/efi/0123/6.1.0-28-amd64/linux"]
)
def test_kernels_on_the_esp_alone(path: str) -> None:
    facts = guest({path: ""}, kernels=[])
    draft = run("preflight", facts)
    assert ids(draft) == ["kernel.esp-only"]
    assert said(draft, "kernel.esp-only").where == path
    assert run("preflight", guest({path: ""})).findings == [], "there is one in /boot too"


def test_an_esp_without_kernels_says_nothing() -> None:
    facts = guest({"/boot/efi/EFI/Linux": building.directory("/boot/efi/EFI/Linux")}, kernels=[])
    assert run("preflight", facts).findings == []


def test_what_the_survey_found_goes_on() -> None:
    held = Finding("dpkg.held", Level.WARN, "held")
    assert run("preflight", guest(findings=(held,))).findings == [held]


@pytest.mark.parametrize("name", ["sda", "xvda", "sdb", "xvdb"])
def test_a_backend_is_for_a_disk_by_its_old_or_new_name(name: str) -> None:
    facts = guest(disks=[building.SDA, building.disk("sdb")])
    assert run("preflight", facts, disk_backends={name: "/dev/vg/a"}).findings == []


def test_a_backend_for_no_disk() -> None:
    draft = run("preflight", guest(), disk_backends={"xvda": "/dev/vg/a", "sdb": "/dev/vg/b"})
    found = said(draft, "config.no-such-disk")
    assert found.level is Level.ERROR
    assert "sdb" in found.message
    assert "/dev" not in found.message


def test_a_tree_that_names_no_disk_has_xvda() -> None:
    facts = guest(disks=[])
    assert run("preflight", facts, disk_backends={"xvda": "/x"}).findings == []
    assert ids(run("preflight", facts, disk_backends={"xvdb": "/x"})) == ["config.no-such-disk"]


def test_nothing_is_changed_where_it_is_pv_already() -> None:
    facts = guest({"/etc/fstab": "/dev/sda1 / ext4\n"}, machine={"virt": Virt.XEN_PV})
    plan = building.plan(facts)
    assert plan.changes == ()
    assert plan.ready


def test_a_space_that_is_not_known_stops_nothing() -> None:
    assert run("preflight", guest(spaces={})).findings == []


def test_the_facts_are_left_alone() -> None:
    facts = guest()
    before = dataclasses.replace(facts)
    run("preflight", facts)
    assert facts == before
    assert isinstance(facts.file(building.GRUB_CFG), File)
