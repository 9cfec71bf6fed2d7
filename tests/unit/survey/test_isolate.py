"""Whatever happens to the child, the caller gets a proof, and nothing of the child's weight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pvprep.facts import KernelProof
from pvprep.survey import isolate
from pvprep.survey.isolate import Prover, prove_all

from .synthetic import LINUX_PV, bzimage, elf, notes


def failed(words: str) -> KernelProof:
    return KernelProof(problem=words)


def misbehave(path: str) -> KernelProof:
    """Do what the path says."""
    if path == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "hog":
        return KernelProof(version=str(len(bytes(4 << 30))))
    if path == "spin":
        while True:
            pass
    if path == "sleep":
        time.sleep(60)
    if path == "raise":
        raise RuntimeError("something unforeseen")
    if path == "exit":
        sys.exit("a word")
    if path == "talk":
        return KernelProof(version="x" * (isolate._ANSWER + 1))
    return KernelProof(version=path, bits=os.getpid())


PROVE = Prover(misbehave, failed)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("die", "the process that read it died (wait status 0x9)"),
        ("hog", "needs more than 1073741824 bytes of memory"),
        ("raise", "RuntimeError: something unforeseen"),
        ("exit", "died"),
        ("talk", "16777216 bytes were not enough"),
    ],
)
def test_misbehaviour(path: str, words: str) -> None:
    proof = PROVE(path)
    assert words in proof.problem
    assert not proof.version


def test_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolate, "_CPU_SECONDS", 1)
    assert PROVE("spin").problem == "it was given up after 1 s of processor time"


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolate, "_SECONDS", 0.3)
    assert "given up: 0.3 s" in PROVE("sleep").problem


def test_many() -> None:
    """Each path once, in order, in a process of its own; none is left over."""
    paths = [f"kernel {number}" for number in range(20)]
    proofs = prove_all(PROVE, [*paths, "raise", paths[0]])
    assert list(proofs) == [*paths, "raise"]
    assert [proofs[path].version for path in paths] == paths
    assert len({proofs[path].bits for path in paths} | {os.getpid()}) == 21
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other, which only ends well if both run."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(isolate, "_SECONDS", 20)
    paths = [str(tmp_path / name) for name in "ab"]

    def meet(path: str) -> KernelProof:
        Path(path).touch()
        while not all(map(os.path.exists, paths)):
            time.sleep(0.01)
        return KernelProof()

    assert not any(proof.problem for proof in prove_all(Prover(meet, failed), paths).values())


def test_interrupt_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(isolate, "_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        PROVE("sleep")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


WEIGH = """
import resource, sys
from pvprep.survey.kernel_image import prove_kernel
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
proof = prove_kernel(sys.argv[1])
assert proof.pv, proof
assert not {"lzma", "bz2", "zlib", "threading", "subprocess"} & set(sys.modules)
print(peak() - before)
"""


def test_the_caller_stays_small(tmp_path: Path) -> None:
    image = elf(notes(LINUX_PV), before=bytes(range(256)) * (32 << 12))
    (tmp_path / "vmlinuz").write_bytes(bzimage(image, "xz"))
    agent = Path(isolate.__file__).parents[2]
    grown = subprocess.run(
        [sys.executable, "-S", "-c", WEIGH, str(tmp_path / "vmlinuz")],
        env={"PYTHONPATH": str(agent)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert int(grown) < 10 * 1024  # KiB; the image unpacks to 32 MiB
