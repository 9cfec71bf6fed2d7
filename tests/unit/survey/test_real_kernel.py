"""The kernel that the machine's Debian gives to clouds, held against its own configuration."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pvprep.survey.kernel_image import prove_kernel

CACHE = Path(__file__).parents[3] / "build" / "cache" / "kernel"


def run(*argv: str) -> str:
    return subprocess.run(argv, cwd=CACHE, stdout=subprocess.PIPE, check=True, text=True).stdout


@pytest.fixture(scope="session")
def boot() -> Path:
    """The /boot of the package, fetched once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    depends = run("apt-cache", "depends", "linux-image-cloud-amd64")
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    assert found, f"apt knows no linux-image-cloud-amd64: {depends}"
    tree = CACHE / found[1]
    if not tree.exists():
        run("apt-get", "-q", "download", found[1])
        unpacked = CACHE / "unpacked"
        run("dpkg-deb", "-x", *(str(deb) for deb in CACHE.glob(f"{found[1]}_*.deb")), str(unpacked))
        (unpacked / "boot").rename(tree)
        run("rm", "-r", str(unpacked), *(str(deb) for deb in CACHE.glob("*.deb")))
    return tree


def test_says_what_its_configuration_says(boot: Path) -> None:
    (image,) = boot.glob("vmlinuz-*")
    version = image.name.split("-", 1)[1]
    config = (boot / f"config-{version}").read_text().split("\n")
    proof = prove_kernel(str(image))
    assert proof.problem == ""
    assert proof.pv == ("CONFIG_XEN_PV=y" in config)
    assert proof.pvh == ("CONFIG_PVH=y" in config)
    assert f"CONFIG_KERNEL_{proof.compression.upper()}=y" in config
    assert proof.version.split()[0] == version
    assert (proof.bits, proof.guest_os, proof.xen_version) == (64, "linux", "xen-3.0")
