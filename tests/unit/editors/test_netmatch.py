from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import netmatch
from pvprep.editors.edited import lines
from pvprep.editors.linewise import Partial
from pvprep.facts import Nic

from .laws import accounts_for, decode, line_texts, texts

E1000 = Nic("ens3", "52:54:00:12:34:56", "e1000", "pci-0000:00:03.0")
RTL = Nic("ens4", "52:54:00:12:34:57", "8139cp", "pci-0000:00:04.0")
TWIN = Nic("ens5", "52:54:00:12:34:58", "8139cp", "pci-0000:00:05.0")
NICS = (E1000, RTL, TWIN)
BY_MAC = "MACAddress=52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[Match]\nDriver=e1000\n", f"[Match]\n{BY_MAC}\n"),
        ("[Match]\r\nDriver=e1000  \r\n", f"[Match]\r\n{BY_MAC}  \r\n"),
        ("[Match]\n Driver = virtio* e1000", "[Match]\n MACAddress = 52:54:00:12:34:56"),
        ("[Match]\nPath=pci-0000:00:03.*\n\n[Network]\nDHCP=yes\n",
         f"[Match]\n{BY_MAC}\n\n[Network]\nDHCP=yes\n"),
        ("[Match]\nDriver=8139cp\nPath=*04.0\n", "[Match]\nMACAddress=52:54:00:12:34:57\n"),
        ("[Match]\nDriver=8139cp\nMACAddress=52:54:00:12:34:58\n",
         "[Match]\nMACAddress=52:54:00:12:34:58\n"),
        ("[Match]\nName=ens4\nDriver=8139cp\n",
         "[Match]\nName=ens4\nMACAddress=52:54:00:12:34:57\n"),
    ],
)
def test_networkd(old: str, new: str) -> None:
    edited = netmatch.networkd(old, NICS)
    assert (edited.text, edited.leftover) == (new, ())
    assert netmatch.networkd(new, NICS).edits == ()


@pytest.mark.parametrize(
    "line",
    ["Driver=8139cp", "Driver=virtio_net", "Driver=!e1000", 'Driver="e1000"', "Driver=e1000 \\",
     "Path=pci-*", "Driver=e1000\nMACAddress=52:54:00:12:34:57", "Driver=e100?\nDriver=8139cp",
     "Driver=e1000\nName=eth*", "Driver=e1000\nMACAddress=52:54:00:12:34:56 52:54:00:12:34:57"],
)
def test_networkd_left_over(line: str) -> None:
    text = f"[Match]\n{line}\n"
    edited = netmatch.networkd(text, NICS)
    assert (edited.text, edited.edits) == (text, ())
    assert edited.leftover[0] == (2, line.split("\n")[0])


@pytest.mark.parametrize(
    "text",
    ["", "[Match]\nDriver=*\n", "[Match]\nDriver=vif e1000\n", "[Match]\nOriginalName=en*\n",
     "[Link]\nDriver=e1000\n", "[Match]\n#Driver=e1000\n;Path=pci*\n", "[Match]\nPath=xen-vif-*\n",
     "[Match]\nDriver=\n", "[Match]\nName=a \\\nDriver=e1000\n", "[Match]\nName=ens3\n"],
)
def test_networkd_nothing_to_do(text: str) -> None:
    assert netmatch.networkd(text, NICS) == Partial(text)


def test_a_nic_without_a_real_mac_is_not_matched() -> None:
    text = "[Match]\nDriver=e1000\n"
    odd = Nic("ens3", "52:54\n[Network]", "e1000")
    assert netmatch.networkd(text, [odd]) == Partial(text, (), ((2, "Driver=e1000"),))


JAMMY = """\
network:
  version: 2
  ethernets:
    lan:
      # the first one
      match:
        driver: e1000   # emulated
        name: "en*"

      set-name: lan
      dhcp4: true
    wan:
      match:
        driver: "8139cp"
        macaddress: 52:54:00:12:34:58
      dhcp4: true
    any:
      match: {driver: 8139cp}
    both:
      match:
        driver: [e1000, 8139cp]
    more:
      match:
        driver:
          - e1000
    three:
      match:
        driver: 8139*
    xen:
      match:
        driver: "*"
    other:
      match:
        name: en*
      driver: e1000
    empty:
      match:
      driver: e1000
"""


def plan(text: str) -> Partial:
    return netmatch.netplan(text, NICS)


def test_netplan() -> None:
    edited = plan(JAMMY)
    assert edited.text == JAMMY.replace(
        "        driver: e1000   # emulated\n",
        '        macaddress: "52:54:00:12:34:56"   # emulated\n',
    ).replace('        driver: "8139cp"\n', "")
    assert [(e.line, e.old, e.new) for e in edited.edits] == [
        (7, "driver: e1000", 'macaddress: "52:54:00:12:34:56"'), (14, 'driver: "8139cp"', ""),
    ]
    assert edited.leftover == (
        (18, "match: {driver: 8139cp}"),
        (21, "driver: [e1000, 8139cp]"),
        (24, "driver:"),
        (28, "driver: 8139*"),
    )
    assert plan(edited.text).edits == ()


ETHERNET = "[connection]\nid=lan\ntype=ethernet\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[match]\ndriver=e1000;\n[ethernet]\nmtu=9000\n",
         "[match]\n[ethernet]\nmac-address=52:54:00:12:34:56\nmtu=9000\n"),
        ("[802-3-ethernet]\n[match]\npath=pci-0000:00:03.*\n",
         "[802-3-ethernet]\nmac-address=52:54:00:12:34:56\n[match]\n"),
        ("[match]\ndriver=8139cp;e1000\npath=pci-0000:00:04.0\nkernel-command-line=x\n",
         "[match]\nkernel-command-line=x\n\n[ethernet]\nmac-address=52:54:00:12:34:57\n"),
        ("[match]\ndriver=8139cp\n[ethernet]\nmac-address=52:54:00:12:34:58\n",
         "[match]\n[ethernet]\nmac-address=52:54:00:12:34:58\n"),
        ("interface-name=ens4\n\n[match]\r\ndriver=8139cp\r\n",
         "interface-name=ens4\n\n[match]\r\n\n[ethernet]\nmac-address=52:54:00:12:34:57\n"),
    ],
)  # fmt: skip
def test_keyfile(old: str, new: str) -> None:
    edited = netmatch.keyfile(ETHERNET + old, NICS)
    assert (edited.text, edited.leftover) == (ETHERNET + new, ())
    assert netmatch.keyfile(edited.text, NICS) == Partial(edited.text)


@pytest.mark.parametrize(
    "line",
    ["driver=8139cp", "driver=!e1000", "driver=|e1000;|8139cp", "path=pci-*", "driver=ixgbe"],
)
def test_keyfile_left_over(line: str) -> None:
    text = f"{ETHERNET}[match]\n{line}\n"
    assert netmatch.keyfile(text, NICS) == Partial(text, (), ((5, line),))


def test_keyfile_of_other_connections_and_of_both_worlds() -> None:
    bond = "[connection]\ntype=bond\n[match]\ndriver=e1000\n"
    assert netmatch.keyfile(bond, NICS) == Partial(bond, (), ((4, "driver=e1000"),))
    for line in ("driver=e1000;xen_netfront", "driver=", "interface-name=ens3"):
        text = f"{ETHERNET}[match]\n{line}\n"
        assert netmatch.keyfile(text, NICS) == Partial(text)


def check(text: str, edited: Partial) -> None:
    gone = [e.line for e in edited.edits if not e.new]
    kept = "".join(line for n, line in enumerate(lines(text), 1) if n not in gone)
    moved = [
        type(e)(e.line - sum(line < e.line for line in gone), e.old, e.new)
        for e in edited.edits
        if e.new
    ]
    assert accounts_for(moved, kept, edited.text)
    for number, told in edited.leftover:
        assert told in lines(text)[number - 1]


INI = ("[Match]\n", "[Network]\n", "Driver=e1000\n", "Driver=8139cp\n", "Path=", "pci-*", "!",
       "\\\n", BY_MAC + "\n", "Name=ens3\n", "[match]\n", "driver=e1000;\n", "[connection]\n",
       "type=ethernet\n", "[ethernet]\n", "path=pci-0000:00:03.0\n",
       "mac-address=52:54:00:12:34:56\n")
YAML = ("network:\n", "  match:\n", "    driver: e1000\n", "    driver: ", "e1000", "8139cp",
        "    name: ens4\n", "    macaddress: 52:54:00:12:34:56\n", "match: {", " - ", "'", "# ")


@given(st.one_of(texts(*INI), line_texts(*"".join(INI).splitlines())))
def test_any_ini(text: str) -> None:
    edited = netmatch.networkd(text, NICS)
    check(text, edited)
    assert netmatch.networkd(edited.text, NICS).edits == ()
    check_keyfile(text)


def check_keyfile(text: str) -> None:
    edited = netmatch.keyfile(text, NICS)
    gone = {edit.line for edit in edited.edits if edit.old}
    kept = iter(line for line in lines(edited.text))
    wanted = [line for number, line in enumerate(lines(text), 1) if number not in gone]
    assert all(any(line.strip() == other.strip() for other in kept) for line in wanted)
    added = [edit.new for edit in edited.edits if edit.new]
    assert len(added) <= 2 and len(lines(edited.text)) <= len(wanted) + 3
    assert netmatch.keyfile(edited.text, NICS).edits == ()


@given(st.one_of(texts(*YAML), line_texts(*JAMMY.splitlines())))
def test_any_yaml(text: str) -> None:
    edited = plan(text)
    check(text, edited)
    assert plan(edited.text).edits == ()


@given(st.binary(max_size=100).map(decode))
def test_any_bytes(text: str) -> None:
    for edited in (netmatch.networkd(text, NICS), plan(text), netmatch.keyfile(text, NICS)):
        assert edited.text == text
