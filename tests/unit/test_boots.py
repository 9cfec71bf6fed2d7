"""What a guest records of its PV boots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvprep import boots
from pvprep.guest import Completed, Guest

BOOT = {
    "boot": "1", "time": "2025-01-01T00:00:00Z", "kernel": "6.1", "as": "pv", "hypervisor": "Xen 4",
    "root": "/dev/xvda1", "swap": [], "network": {"ens3": ["10.0.0.2"]}, "console": "hvc0",
    "login": True, "up": True,
}  # fmt: skip


class Booted(Guest):
    """A tree with /proc and /sys of a PV guest, that says what `ip` says."""

    ip = '[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "scope": "host"}]}]'

    def run(self, argv: Any, **_more: Any) -> Completed:
        assert list(argv) == ["ip", "-j", "addr", "show", "up"]
        return Completed(tuple(argv), 0, self.ip)


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Booted:
    for path, text in {
        "sys/hypervisor/type": "xen\n",
        "sys/hypervisor/guest_type": "PV\n",
        "sys/hypervisor/version/major": "4\n",
        "sys/hypervisor/version/minor": "17\n",
        "proc/sys/kernel/random/boot_id": "one\n",
        "proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/xvda1 rw\n",
        "proc/swaps": "Filename Type\n/dev/xvda2 partition 1 0 -2\n",
        "sys/class/tty/console/active": "tty0 hvc0\n",
        "proc/77/comm": "agetty\n",
        "proc/77/cmdline": "/sbin/agetty\0hvc0\0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(boots, "NETWORK_WAIT", -1.0)
    monkeypatch.setattr(boots, "LOGIN_WAIT", -1.0)
    monkeypatch.setattr(boots.os.path, "exists", lambda path: path == "/sys/class/net/ens3/device")
    guest = Booted(str(tmp_path))
    guest.ip = json.dumps(
        [
            {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "scope": "global"}]},
            {"ifname": "ens3", "addr_info": [{"local": "10.0.0.2", "scope": "global"},
                                             {"local": "fe80::1", "scope": "link"}]},
        ]
    )  # fmt: skip
    return guest


def test_a_pv_boot_is_recorded_once(booted: Booted) -> None:
    entry = boots.record(booted)
    assert entry is not None
    assert {**entry, "time": "", "kernel": ""} == {
        **BOOT, "boot": "one", "time": "", "kernel": "", "hypervisor": "Xen 4.17",
        "swap": ["/dev/xvda2"],
    }  # fmt: skip
    assert boots.record(booted) is None
    assert boots.recorded(booted) == [entry]


def test_dom0_is_told_once(booted: Booted, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(boots.handover, "report_boot", lambda _guest, entry: told.append(entry))
    entry = boots.record(booted)
    assert told == [entry]
    boots.record(booted)
    assert told == [entry]


def test_a_getty_that_has_the_console_as_its_input(booted: Booted) -> None:
    process = Path(booted.root) / "proc/77"
    (process / "cmdline").write_text("/sbin/agetty\0-\0vt220\0")
    (process / "fd").mkdir()
    (process / "fd/0").symlink_to("/dev/tty1")
    entry = boots.record(booted)
    assert entry is not None and entry["login"] is False
    Path(booted.root, "var/lib/pvprep/boots").unlink()
    (process / "fd/0").unlink()
    (process / "fd/0").symlink_to("/dev/hvc0")
    entry = boots.record(booted)
    assert entry is not None and entry["login"] is True


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/77/comm", "bash\n"),
        ("proc/77/cmdline", "/sbin/agetty\0tty1\0"),
        ("sys/class/tty/console/active", "tty0\n"),
        ("proc/self/mountinfo", ""),
    ],
)
def test_without_root_network_and_login_it_is_not_up(
    booted: Booted, path: str, text: str
) -> None:
    (Path(booted.root) / path).write_text(text)
    entry = boots.record(booted)
    assert entry is not None
    assert entry["up"] is False


@pytest.mark.parametrize("said", ["", "[]", "no json", "[{}]"])
def test_no_network(booted: Booted, said: str) -> None:
    booted.ip = said
    entry = boots.record(booted)
    assert entry is not None
    assert (entry["network"], entry["up"]) == ({}, False)


@pytest.mark.parametrize("kind", ["HVM", ""])
def test_other_boots_are_not_recorded(booted: Booted, kind: str) -> None:
    root = Path(booted.root)
    (root / "sys/hypervisor/guest_type").write_text(kind)
    (root / "sys/class/dmi/id").mkdir(parents=True)
    assert boots.record(booted) is None
    assert not (root / "var").exists()


def test_the_last_fifty_are_kept(booted: Booted) -> None:
    place = Path(booted.root) / boots.RECORD[1:]
    place.parent.mkdir(parents=True)
    place.write_text("".join(json.dumps({**BOOT, "boot": str(n)}) + "\n" for n in range(70)))
    boots.record(booted)
    found = boots.recorded(booted)
    assert len(found) == boots.KEPT
    assert (found[0]["boot"], found[-1]["boot"]) == ("21", "one")


@pytest.mark.parametrize(
    "line",
    ["", "no json", "[]", "1", "{}", '{"boot": 1}', "[" * 100_000, '{"boot": "1"}',
     json.dumps({**BOOT, "network": {"a": [1]}}), json.dumps({**BOOT, "network": []}),
     json.dumps({**BOOT, "time": None}), json.dumps({**BOOT, "up": "yes"})],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_record_is_passed_over(tmp_path: Path, line: str) -> None:
    place = tmp_path / boots.RECORD[1:]
    place.parent.mkdir(parents=True)
    place.write_text(f"{line}\n{json.dumps(BOOT)}\n")
    assert boots.recorded(Guest(str(tmp_path))) == [BOOT]
