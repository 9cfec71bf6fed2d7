"""Network interfaces with hardware behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.building import MAC, file, guest, run, written
from tests.unit.trees import Running

from pvprep.facts import File, Nic
from pvprep.guest import Guest
from pvprep.survey.network import nics, nics_named


def card(root: Path, name: str, index: int, address: str = MAC, driver: str = "e1000",
         bus: str = "pci0000:00/0000:00:03.0", perm: str = "") -> None:  # fmt: skip
    place = root / "sys/class/net" / name
    device = root / "sys/devices" / bus
    place.mkdir(parents=True)
    device.mkdir(parents=True, exist_ok=True)
    (place / "address").write_text(f"{address}\n")
    (place / "ifindex").write_text(f"{index}\n")
    if driver:
        (place / "device").symlink_to(f"../../../devices/{bus}")
        (root / f"sys/bus/drivers/{driver}").mkdir(parents=True, exist_ok=True)
        if not (device / "driver").exists():
            (device / "driver").symlink_to(f"/sys/bus/drivers/{driver}")
    if perm:
        (place / "bonding_slave").mkdir()
        (place / "bonding_slave/perm_hwaddr").write_text(f"{perm}\n")


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(str(tmp_path))


def test_a_card_with_its_driver_and_place(running: Running) -> None:
    card(Path(running.root), "ens3", 2, MAC.upper())
    assert nics(running) == (Nic("ens3", MAC, "e1000", "pci-0000:00:03.0"),)


def test_in_the_order_in_which_the_kernel_found_them(running: Running) -> None:
    root = Path(running.root)
    card(root, "eth1", 2, "00:16:3e:00:00:02", bus="pci0000:00/0000:00:04.0")
    card(root, "eth0", 10, "00:16:3e:00:00:01", bus="pci0000:00/0000:00:03.0")
    assert [nic.name for nic in nics(running)] == ["eth1", "eth0"]


def test_bridges_bonds_and_tunnels_follow_what_is_under_them(running: Running) -> None:
    for number, name in enumerate(("lo", "br0", "bond0", "eth0.5", "tun0")):
        card(Path(running.root), name, number, driver="")
    assert nics(running) == ()


def test_a_member_of_a_bond_has_an_address_of_its_own(running: Running) -> None:
    card(Path(running.root), "eth0", 2, "aa:aa:aa:aa:aa:aa", perm=MAC)
    assert nics(running)[0].mac == MAC


def test_what_is_not_on_pci_has_no_path(running: Running) -> None:
    card(Path(running.root), "eth0", 2, driver="vif", bus="vif-0")
    assert nics(running) == (Nic("eth0", MAC, "vif", ""),)


@pytest.mark.parametrize("address", ["", "00:16:3e", "80:00:02:08:fe:80", "zz:16:3e:12:34:56"])
def test_what_is_no_mac(running: Running, address: str) -> None:
    card(Path(running.root), "ib0", 2, address)
    assert nics(running)[0].mac == (address if address.startswith("80") else "")


def test_a_tree_has_no_hardware(running: Running) -> None:
    card(Path(running.root), "ens3", 2)
    assert nics(Guest(running.root)) == ()


def named(files: dict[str, str]) -> tuple[Nic, ...]:
    return nics_named({path: file(path, text) for path, text in files.items()})


RULES = "/etc/udev/rules.d/70-persistent-net.rules"
RULE = f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", KERNEL=="eth*", NAME="eth0"\n'


def test_a_tree_names_its_cards_in_persistent_rules() -> None:
    second = RULE.replace("34:56", "34:57").replace("eth0", "eth1")
    assert named({RULES: second + RULE}) == (
        Nic("eth0", MAC), Nic("eth1", "00:16:3e:12:34:57"),
    )  # fmt: skip
    assert named({"/etc/udev/rules.d/99-mine.rules": RULE}) == ()


@pytest.mark.parametrize("name", ["ens3", "eth0"])
def test_a_converted_tree_names_them_in_our_link_files(name: str) -> None:
    made = written(run("network", guest(nics=(Nic(name, MAC),))))
    found = nics_named({path: File(path, text.encode()) for path, text in made.items()})
    assert found == (Nic(name, MAC),)


def test_link_files_of_others_do_not_count() -> None:
    text = f"[Match]\nMACAddress={MAC}\n[Link]\nName=x\n"
    assert named({"/etc/systemd/network/10-mine.link": text}) == ()
    assert named({"/etc/systemd/network/10-pvprep-00163e123456.link": "[Match]\n"}) == ()


EL5 = f"DEVICE=eth0\nHWADDR={MAC.upper()}\n"


def test_a_tree_names_its_cards_in_ifcfg_files_and_keyfiles() -> None:
    scripts = "/etc/sysconfig/network-scripts/ifcfg-"
    assert named({f"{scripts}eth0": EL5, f"{scripts}eth1": "DEVICE=eth1\n"}) == (Nic("eth0", MAC),)
    assert named({f"/etc/sysconfig/network/ifcfg-eth-id-{MAC}": ""}) == (Nic("", MAC),)
    keyfile = "/etc/NetworkManager/system-connections/lan.nmconnection"
    text = f"[connection]\ntype=ethernet\ninterface-name=ens3\n[ethernet]\nmac-address={MAC}\n"
    assert named({keyfile: text}) == (Nic("ens3", MAC),)
    assert named({keyfile: text.replace("ethernet\ni", "vlan\ni")}) == ()


def test_who_knows_better_names_a_card() -> None:
    suse = f"/etc/sysconfig/network/ifcfg-eth-id-{MAC}"
    assert named({suse: "", "/etc/udev/rules.d/30-net_persistent_names.rules": RULE}) == (
        Nic("eth0", MAC),
    )
    scripts = "/etc/sysconfig/network-scripts/ifcfg-lan"
    assert named({scripts: EL5.replace("eth0", "lan"), RULES: RULE}) == (Nic("eth0", MAC),)
