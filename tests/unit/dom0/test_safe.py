"""No config that is called safe holds, as xl reads it, anything outside the allow-list."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.unit.dom0 import world
from tests.unit.dom0.test_attacks import ATTACKS, judge
from tests.unit.domu import xen_tools

from pvprep_dom0 import vifs, xlcfg
from pvprep_dom0.errors import Dom0Error
from pvprep_dom0.fix import fix
from pvprep_dom0.keys import SHAPES

_GOOD = (
    'name = "bifit"\n', 'memory = 512\n', "vcpus = 2\n", 'bootloader = "pygrub"\n', 'type = "pv"\n',
    f'disk = [ "vdev=xvda,target={world.DISK}" ]\n', f'disk = [ "phy:{world.DISK},xvda,w" ]\n',
    'vif = [ "mac=00:16:3e:01:12:c1,bridge=xenbr4" ]\n', 'vfb = ["vnc=1"]\n', "pvshim = 1\n",
    'on_crash = "restart"\n', 'bootloader_args = ["--kernel=/vmlinuz"]\n', 'cmdline = "ro"\n',
)  # fmt: skip
_LINES = sorted(
    {
        f"{line}\n"
        for attack in ATTACKS
        for line in attack.data.decode("utf-8", "surrogateescape").split("\n")
        if len(line) < 300 and "\0" not in line
    }
)
def _can_be_read(text: str) -> bool:
    try:
        return bool(xlcfg.parse(text))
    except xlcfg.ConfigError:
        return False


_GLUE = st.sampled_from(["", "", "", "; ", "# ", "+", " ", "\\", '"', ",", "]", "\t"])
configs = st.lists(
    st.tuples(_GLUE, st.one_of(st.sampled_from(_GOOD), st.sampled_from(_LINES))).map("".join),
    max_size=8,
).map("".join)
# Attacks among settings that suffice for a domain.
attacked = st.lists(st.sampled_from([line for line in _LINES if _can_be_read(line)])).flatmap(
    lambda lines: st.permutations([*_GOOD[:4], *_GOOD[5:6], *lines])
).map("".join)
# Settings of which each alone is safe, and twice is not: most of these pass.
mild = st.lists(st.sampled_from(_GOOD[4:]), unique=True).flatmap(
    lambda lines: st.permutations([*_GOOD[:4], *lines])
).map("".join)


def assert_harmless(config: str) -> None:
    """By Xen's own parsers alone."""
    seen = dict(xen_tools.parse(config))
    assert seen.keys() <= SHAPES.keys()
    assert seen["name"] == "bifit"
    assert seen.get("bootloader", "pygrub") == "pygrub"
    assert seen.get("kernel", world.PVGRUB[0]) in world.PVGRUB
    assert seen.get("type", "pv") in ("pv", "pvh")
    for spec in seen.get("disk", ()):
        disk = xen_tools.disk(spec)
        assert disk.keys() <= {"target", "vdev", "format", "readwrite", "backend", "cdrom"}
        assert disk["target"].startswith(("/dev/vg0/bifit-", "/srv/images/bifit"))
        assert disk["format"] == "raw" or disk["target"] == "/srv/images/bifit.qcow2"
    for spec in seen.get("vif", ()):
        assert {key for key, _ in vifs.words(spec)} <= {"mac", "bridge", "rate", "type"}
        assert dict(vifs.words(spec)).get("bridge", "xenbr4") in world.POLICY.bridges
    for argument in seen.get("bootloader_args", ()):
        assert argument.startswith(("--kernel=", "--ramdisk=", "--args=", "--offset=", "--entry="))
    for key in ("memory", "maxmem"):
        assert int(str(seen.get(key, 1))) <= world.POLICY.memory


@settings(max_examples=300)
@given(st.one_of(configs, mild))
def test_what_is_safe_is_harmless(config: str) -> None:
    found = judge(config.encode("utf-8", "surrogateescape"))
    event("safe" if not found.errors else "not safe")
    if not found.errors:
        assert_harmless(config)


@settings(max_examples=200)
@given(attacked)
def test_what_is_fixed_is_harmless(config: str) -> None:
    found = judge(config.encode("utf-8", "surrogateescape"))
    try:
        fixed = fix(found, judge)
    except Dom0Error:
        event("cannot be fixed")
        return
    event("fixed")
    assert_harmless(fixed)
