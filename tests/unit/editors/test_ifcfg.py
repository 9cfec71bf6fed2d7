from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors.ifcfg import Interface, interface

from .laws import decode, texts

EL, SUSE = "/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-"
MAC = "00:16:3e:12:34:56"
EL5 = f"""\
# Intel Corporation 82540EM Gigabit Ethernet Controller
DEVICE=eth0
BOOTPROTO=dhcp
HWADDR={MAC.upper()}
ONBOOT=yes
"""
ANACONDA = """\
TYPE="Ethernet"
BOOTPROTO="dhcp"
NAME="Wired connection 1"
UUID="1d8b2f30-1111-4b8e-9a3c-1b0f6d1e7c55"
DEVICE="ens3"
ONBOOT="yes"
"""


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        (f"{EL}eth0", EL5, Interface("eth0", MAC)),
        (f"{EL}ens3", ANACONDA, Interface("ens3")),
        (f"{EL}Wired_connection_1", ANACONDA, Interface("ens3")),
        (f"{EL}eth0", f"HWADDR='{MAC}'\nBRIDGE=br0\n", Interface("eth0", MAC)),
        (f"{EL}eth0", "HWADDR=00:16:3e\n", Interface("eth0")),
        (f"{SUSE}eth0", "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n", Interface("eth0")),
        (f"{SUSE}eth-id-{MAC}", "BOOTPROTO='dhcp'\nUNIQUE='rBUF.x'\n", Interface(mac=MAC)),
        (f"{SUSE}eth-bus-pci-0000:00:03.0", "", Interface(bus="pci-0000:00:03.0")),
    ],
)
def test_a_card(path: str, text: str, found: Interface) -> None:
    assert interface(path, text) == found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lo", "DEVICE=lo\n"), ("br0", ""), ("bond0", "BONDING_MASTER=yes\n"),
        ("office", "DEVICE=office\nTYPE=Bridge\n"), ("office", "BRIDGE='yes'\n"),
        ("eth0.5", ""), ("eth0:1", ""), ("eth0.bak", EL5), ("eth0~", EL5), ("eth0.rpmsave", EL5),
        ("v5", "VLAN=yes\n"),
    ],
)  # fmt: skip
def test_what_is_no_card_or_no_live_file(name: str, text: str) -> None:
    assert interface(EL + name, text) == Interface()


@given(st.one_of(texts("DEVICE=", "HWADDR=", MAC, "TYPE=", "'"), st.binary().map(decode)))
def test_any_text(text: str) -> None:
    assert interface(f"{EL}eth0", text).mac in ("", MAC)
