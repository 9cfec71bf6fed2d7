from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import modprobe
from pvprep.editors.edited import Edit, Edited

from .laws import decode, holds, line_texts, texts

EL5 = """\
alias eth0 e1000
alias eth1\t8139cp
alias scsi_hostadapter ata_piix
  alias scsi_hostadapter1 sata-nv
alias scsi_hostadapter2 usb-storage
alias snd-card-0 snd-ens1370
options e1000 Speed=100
remove snd-ens1370 { /usr/sbin/alsactl store 0 >/dev/null 2>&1 || : ; }
#alias eth0 e1000
include /etc/modprobe.conf.dist
"""
GONE = ("e1000", "8139cp", "ata_piix", "sata_nv", "xen_vnif")


def point(text: str) -> Edited:
    return modprobe.point_aliases(text, GONE, "xennet", "xenblk")


def test_an_installed_el5() -> None:
    edited = holds(point, EL5)
    assert edited.text == (
        EL5.replace("alias eth0 e1000", "alias eth0 xennet", 1)
        .replace("\t8139cp", "\txennet")
        .replace("ata_piix", "xenblk")
        .replace("sata-nv", "xenblk")
    )
    assert edited.edits[3] == Edit(4, "sata-nv", "xenblk")


@pytest.mark.parametrize(
    "line",
    ["alias eth0 xennet", "alias eth0 off", "alias eth0 bnx2", "alias eth e1000",
     "alias peth0 e1000", "alias eth0 e1000 # mine", "alias eth0 \\\ne1000",
     "alias e1000 off", "options eth0 e1000"],
)  # fmt: skip
def test_what_stays(line: str) -> None:
    assert point(line) == Edited(line)


def test_the_drivers_of_an_hvm_guest_have_names_of_their_own() -> None:
    assert point("alias eth0 xen-vnif\r\n").text == "alias eth0 xennet\r\n"


PIECES = ("alias ", "eth0 ", "scsi_hostadapter1 ", "e1000", "ata-piix", "xenblk", "\\\n")


@given(st.one_of(texts(*PIECES), line_texts(*EL5.splitlines()), st.binary(max_size=99).map(decode)))
def test_any_text(text: str) -> None:
    holds(point, text)
