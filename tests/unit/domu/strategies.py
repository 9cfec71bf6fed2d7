"""Domains as hypothesis makes them: each one that the model admits, with hostile words in it."""

from __future__ import annotations

import string
from dataclasses import replace

from hypothesis import strategies as st

from pvprep.domu.model import (
    ACTIONS,
    FORMATS,
    MAX_MEMORY_MIB,
    MAX_VCPUS,
    MODELS,
    Boot,
    DomU,
    Vbd,
    Vif,
)

INJECTIONS = (
    'x\nbootloader="/bin/sh"',
    'x"\nkernel="/etc/shadow',
    'x"]\nextra=1\ndisk=["',
    "x\rname=1",
    "x\x00y",
    "x\\",
    'x\\"',
    "x'#",
    "# >>> REPLACE",
    "\x85a=1",
    "\u2028a=1",
    "\u202etxt.gfc",
    "{{ domu }}{% raw %}",
    "\udcff",
    "\ud800",
)
# Any text at all, lone surrogates too, for the comments.
words = st.one_of(st.sampled_from(INJECTIONS), st.text(st.characters(), max_size=300))
# Any text that a string of xl.cfg can carry: a raw byte of a path counts.
values = st.text(
    st.one_of(
        st.sampled_from("\t\\\"'#,=[];{}% \udc80\udcff"),
        st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp")),
    ),
    max_size=60,
)
paths = values.map(lambda text: "/" + (text.rstrip(",") or "x"))
maybe_paths = st.one_of(st.just(""), paths)
alphanumeric = string.ascii_letters + string.digits


def _rest(more: str, most: int) -> st.SearchStrategy[str]:
    return st.text(alphanumeric + more, max_size=most)


names = st.builds("{}{}".format, st.sampled_from(alphanumeric), _rest("._+-", 62)).filter(
    lambda name: not name.isdigit()
)
macs = st.tuples(st.integers(0, 127), st.binary(min_size=5, max_size=5)).map(
    lambda mac: bytes((mac[0] * 2, *mac[1])).hex(":")
)
vifs = st.builds(
    Vif,
    mac=macs.filter(lambda mac: mac.strip("0:") != ""),
    bridge=st.one_of(
        st.just(""), st.builds("{}{}".format, st.sampled_from(alphanumeric), _rest("_.:+-", 14))
    ),
    comment=words,
    rate=st.one_of(
        st.just(""),
        st.builds("{}B/s@{}us".format, st.integers(1, 2**32 - 1), st.integers(1, 10**6)),
    ),
)
letters = st.one_of(
    st.sampled_from(string.ascii_lowercase),
    st.text(string.ascii_lowercase, min_size=2, max_size=2),
)
vdevs = st.one_of(letters.map("xvd{}".format), st.sampled_from(["hda", "hdb", "hdc", "hdd"]))
hvm_vdevs = st.one_of(vdevs, st.sampled_from("abcdp").map("sd{}".format))
vbds = st.builds(
    Vbd,
    vdev=vdevs,
    target=st.one_of(st.none(), paths),
    format=st.sampled_from(FORMATS),
    access=st.sampled_from(["rw", "r"]),
    size=st.integers(0, 2**60),
    guest_name=st.sampled_from(["", "sda", "nvme0n1", "cciss/c0d0", "cciss!c0d0"]),
    comment=words,
)
drives = st.builds(
    Vbd,
    vdev=hvm_vdevs,
    target=st.one_of(st.just(""), paths),
    access=st.just("r"),
    comment=words,
    cdrom=st.just(True),
)
boots = st.one_of(
    st.builds(
        Boot,
        method=st.just("pygrub"),
        args=st.lists(
            st.builds(
                "--{}=x{}".format,
                st.sampled_from(["kernel", "ramdisk", "args", "offset", "entry"]),
                values,
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(Boot, method=st.just("pvgrub"), image=maybe_paths),
    st.builds(
        Boot,
        method=st.just("direct"),
        kernel=maybe_paths,
        ramdisk=maybe_paths,
        cmdline=values,
        guest_kernel=maybe_paths,
        guest_ramdisk=maybe_paths,
    ),
)


def _as_hvm(disk: Vbd, vdev: str) -> Vbd:
    return replace(disk, vdev=vdev)


@st.composite
def domus(draw: st.DrawFn) -> DomU:
    kind = draw(st.sampled_from(["pv", "pvh", "hvm"]))
    hvm = kind == "hvm"
    disks = st.one_of(st.builds(_as_hvm, vbds, hvm_vdevs), drives) if hvm else vbds
    memory = draw(st.one_of(st.none(), st.integers(1, MAX_MEMORY_MIB)))
    actions = st.sampled_from(ACTIONS)
    return DomU(
        name=draw(names),
        uuid=draw(st.one_of(st.just(""), st.uuids().map(str))),
        type=kind,
        memory_mib=memory,
        maxmem_mib=draw(st.one_of(st.none(), st.integers(memory or 1, MAX_MEMORY_MIB))),
        vcpus=draw(st.one_of(st.none(), st.integers(1, MAX_VCPUS))),
        vifs=tuple(
            replace(vif, model=draw(st.sampled_from(MODELS)) if hvm else "")
            for vif in draw(st.lists(vifs, max_size=3))
        ),
        disks=tuple(
            draw(st.lists(disks, min_size=1, max_size=3, unique_by=lambda disk: disk.letters))
        ),
        boot=Boot("firmware") if hvm else draw(boots),
        uefi=hvm and draw(st.booleans()),
        pvshim=kind == "pvh" and draw(st.booleans()),
        vfb=draw(st.booleans()),
        on_poweroff=draw(actions),
        on_reboot=draw(actions),
        on_crash=draw(actions),
        source=draw(words),
        notes=tuple(draw(st.lists(words, max_size=3))),
    )
