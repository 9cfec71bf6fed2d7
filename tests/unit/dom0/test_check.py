"""The check: what it is measured by (policy, the domain's past, other domains), and its words."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path
from typing import Any, Optional

import pytest
from tests.unit.dom0 import world
from tests.unit.domu.test_emit import BIFIT as EMITTED

from pvprep.domu.emit import emit
from pvprep.domu.model import DomU
from pvprep_dom0 import policy, report
from pvprep_dom0.check import Report, check
from pvprep_dom0.domains import Domain, configured
from pvprep_dom0.errors import Dom0Error, UsageError
from pvprep_dom0.findings import TOPICS
from pvprep_dom0.keys import DANGERS, REFUSED, SHAPES
from pvprep_dom0.policy import Policy

# Words in lists of the manual, such as pci's.
_WORDS_OF_DEVICES = {
    "backend", "connection", "controller", "height", "hostaddr", "hostbus", "path", "pnode",
    "policy", "port", "ports", "size", "strategy", "tag", "vdistances", "version", "width",
}  # fmt: skip

GOOD = f"""\
name = "bifit"
memory = 512
bootloader = "pygrub"
disk = ["vdev=xvda,target={world.DISK}"]
"""


def judge(
    text: str, own: Optional[Domain] = world.BIFIT, rules: Policy = world.POLICY,
    domains: Any = world.DOMAINS,
) -> Report:  # fmt: skip
    return check(
        text.encode("utf-8", "surrogateescape"), rules, own, domains, world.pretend_look,
        world.pretend_user,
    )  # fmt: skip


def ids(found: Report) -> set[str]:
    return {finding.id for finding in found.findings}


def test_what_pvprep_emits_is_safe() -> None:
    domu = dataclasses.replace(EMITTED, disks=(dataclasses.replace(EMITTED.disks[0],
                               target=world.DISK),))  # fmt: skip
    for made in (domu, dataclasses.replace(domu, type="pvh", vfb=True)):
        assert ids(judge(emit(made))) == set()


def test_what_pvprep_could_not_fill_in_is_told() -> None:
    assert "config.placeholder" in ids(judge(emit(DomU("bifit", disks=EMITTED.disks))))


def test_without_the_domains_past_the_policy_alone_counts() -> None:
    found = judge(GOOD, own=None)
    assert ids(found) == {"disk.target"}  # {name} is not the config's own to fill in
    # Not even by a pattern that an empty name would make fit.
    text = GOOD.replace(world.DISK, "/srv/images/bifit.img")
    assert ids(judge(text, own=None)) == {"disk.target"}
    rules = dataclasses.replace(world.POLICY, targets=("/dev/vg0/*",))
    assert ids(judge(GOOD, own=None, rules=rules)) == set()


def test_the_default_policy_allows_what_the_domain_had() -> None:
    text = GOOD.replace(world.DISK, "/dev/vg0/bifit-root").replace("512", "1024")
    text += 'vif = ["bridge=xenbr4"]\nvcpus = 2\n'
    assert ids(judge(text, rules=Policy(memory=256, vcpus=1))) == set()
    assert ids(judge(text, own=None, rules=Policy(memory=256, vcpus=1))) == {
        "disk.target", "vif.bridge", "memory.limit", "vcpus.limit",
    }  # fmt: skip


def test_a_format_of_the_domains_past_stays() -> None:
    text = GOOD.replace(f"target={world.DISK}", "format=qcow2,target=/srv/images/bifit.qcow2")
    assert ids(judge(text)) == set()
    assert ids(judge(text.replace("qcow2,", "raw,"))) == {"disk.format"}


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (GOOD.replace("bifit", "other", 1), "name.clash"),
        (GOOD.replace("bifit", "Domain-0", 1), "name.clash"),
        (f'{GOOD}uuid = "{world.OTHER.uuid.upper()}"\n', "uuid.clash"),
        (GOOD.replace("memory", "localtime"), "memory.missing"),
        (f"{GOOD}nomigrate = 1\n", "key.not-needed"),
    ],
)
def test_findings_that_the_corpus_does_not_provoke(text: str, id: str) -> None:
    assert id in ids(judge(text, own=None))


def test_names_can_be_given_by_the_policy() -> None:
    rules = dataclasses.replace(world.POLICY, names=("web-*", "db?"))
    assert ids(judge(GOOD, rules=rules)) == {"name.policy"}


def test_the_domain_that_runs_still_is_no_clash() -> None:
    found = judge(GOOD, domains=(*world.DOMAINS, world.BIFIT))
    assert ids(found) == {"name.running"}
    assert not found.errors


def test_unknown_domains_are_said() -> None:
    assert ids(judge(GOOD, domains=None)) == {"host.unknown"}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("cpus", 'cpus = "0-1"'),
        ("vif.ip", 'vif = ["ip=192.0.2.1"]'),
        ("vif.script", 'vif = ["script=vif-route"]'),
        ("vif.untrusted", 'vif = ["untrusted"]'),
        ("vfb.vncpasswd", 'vfb = ["vnc=1,vncpasswd=x"]'),
        ("disk.discard", f'disk = ["vdev=xvda,discard,target={world.DISK}"]'),
        ("disk.script", f'disk = ["vdev=xvda,script=block-x,target={world.DISK}"]'),
    ],
)
def test_the_policy_can_let_more_keys_pass(keys: str, line: str) -> None:
    text = f"{GOOD.replace('disk', '# disk')}{line}\n" if "disk" in keys else f"{GOOD}{line}\n"
    assert len(judge(text).errors) == 1
    assert ids(judge(text, rules=dataclasses.replace(world.POLICY, keys=(keys,)))) == set()


def test_every_key_of_xl_is_known() -> None:
    """Those of the manual of the installed xl; of them none is called unknown."""
    text = gzip.decompress(Path("/usr/share/man/man5/xl.cfg.5.gz").read_bytes()).decode()
    keys = set(re.findall(r'(?m)^\.IP "\\fB([a-z_0-9]+)=', text))
    assert len(keys) > 80
    assert keys - _WORDS_OF_DEVICES <= {*SHAPES, *REFUSED}
    assert not SHAPES.keys() & REFUSED.keys()
    assert set(REFUSED.values()) <= DANGERS.keys() <= TOPICS.keys()


def test_a_config_of_dom0s_own_tells_the_domains_past() -> None:
    text = (
        f'name = "bifit"\nbuilder = "hvm"\nmemory = 1024\nmaxmem = 2048\nuuid = "{world.UUID}"\n'
        'disk = ["phy:/dev/vg0/bifit-root,hda,w", "file:/srv/a.iso,hdc:cdrom,r", "bad"]\n'
        'vif = ["type=ioemu, mac=00:16:3E:01:12:C1, bridge=xenbr4"]\n'
    )
    assert configured(text, "old.cfg") == Domain(
        name="bifit", uuid=world.UUID, type="hvm", memory=2048,
        disks=(("/dev/vg0/bifit-root", "raw"),), cdroms=("/srv/a.iso",),
        macs=("00:16:3e:01:12:c1",), bridges=("xenbr4",),
    )  # fmt: skip
    with pytest.raises(Dom0Error, match=r"old\.cfg:1"):
        configured("name = True\n", "old.cfg")
    with pytest.raises(Dom0Error, match="names no domain"):
        configured("memory = 1\n", "old.cfg")


def test_the_policy_file(tmp_path: Path) -> None:
    place = tmp_path / "policy.conf"
    text = "bridges = xenbr* br0\nmemory = 2048\ntargets =\n  /dev/a\n  /dev/b\n"
    place.write_text(f"[allow]\n{text}")
    assert policy.load(str(place)) == Policy(
        bridges=("xenbr*", "br0"), memory=2048, targets=("/dev/a", "/dev/b")
    )
    place.write_text(policy.example())
    assert policy.load(str(place)) == Policy()
    # What it shows can be uncommented, option by option.
    for line in policy.example().splitlines():
        if line.startswith("#") and " = " in line:
            place.write_text(f"[allow]\n{line[1:]}\n")
            assert policy.load(str(place)) == Policy()


@pytest.mark.parametrize(
    "text",
    ["[allow]\nbridge = x\n", "[allowed]\n", "x\n", "[DEFAULT]\nmemory = 1\n[allow]\n",
     "[allow]\nmemory = much\n", "[allow]\nmemory = 1 2\n", "[allow]\nkeys = a\nkeys = b\n",
     "[allow]\nmemory =\n"],
)  # fmt: skip
def test_a_policy_that_cannot_be_understood_is_refused(tmp_path: Path, text: str) -> None:
    place = tmp_path / "policy.conf"
    place.write_text(text)
    with pytest.raises(UsageError, match=r"policy\.conf"):
        policy.load(str(place))


@pytest.mark.parametrize(
    ("text", "patterns", "fits"),
    [
        ("/dev/vg0/a-b", ("/dev/vg0/{name}-*",), True),
        ("/dev/vg0/a-b/c", ("/dev/vg0/{name}-*",), False),
        ("/dev/vg0/ab", ("/dev/vg0/{name}-*",), False),
        ("xenbr12", ("xenbr?",), False),
        ("a.b", ("a?b", "x"), True),
        ("axb", ("a.b",), False),
        ("a\n", ("a",), False),
    ],
)
def test_patterns(text: str, patterns: tuple[str, ...], fits: bool) -> None:
    assert policy.matches(text, patterns, "a") is fits


def test_reports_cannot_upset_a_terminal() -> None:
    lines = report.lines(judge('name = "\x1b[2J\\r\u202e"\nd\x07 = 1\n'))
    assert all(line.isprintable() and line.isascii() for line in lines)
    assert lines[-1].startswith("Not safe: ")


def test_the_document() -> None:
    told = json.loads(report.document(judge(f"{GOOD}pci = []\n"), None))
    assert (told["version"], told["safe"], told["config"]) == (1, False, None)
    (finding,) = told["findings"]
    assert finding["id"] == "key.hardware"
    assert (finding["level"], finding["line"], finding["key"]) == ("error", 5, "pci")
