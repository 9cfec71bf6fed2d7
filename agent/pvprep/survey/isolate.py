"""Proofs made in child processes, so that a hostile or huge image costs the caller nothing.

The memory for unpacking, the modules that unpack and whatever a damaged image does to them stay in
a child with limits on memory, processor time and time; only the proof comes back.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

_MEMORY = 1 << 30  # bytes, beyond what the process has when it starts
_CPU_SECONDS = 60
_SECONDS = 180
_ANSWER = 16 << 20  # bytes of a proof

P = TypeVar("P")


@dataclass(frozen=True)
class Prover(Generic[P]):
    """Calls `read` on a path in a child process; `failed` makes a proof of why there is none."""

    read: Callable[[str], P]
    failed: Callable[[str], P]

    def __call__(self, path: str) -> P:
        """The proof for one path; never raises for what the file may hold."""
        return prove_all(self, [path])[path]


def prove_all(prove: Prover[P], paths: Sequence[str]) -> dict[str, P]:
    """The proof for each path, as many at a time as there are processors."""
    proofs = run([(prove, path) for path in dict.fromkeys(paths)])
    return {path: proof for (_, path), proof in proofs.items()}


def run(jobs: Sequence[tuple[Prover[Any], str]]) -> dict[tuple[Prover[Any], str], Any]:
    """The same for provers of several kinds; the answers come in the order of the jobs."""
    waiting = list(reversed(jobs))
    children: dict[int, _Child] = {}
    answers: dict[tuple[Prover[Any], str], Any] = {}
    try:
        while waiting or children:
            while waiting and len(children) < (os.cpu_count() or 1):
                child = _Child(*waiting.pop())
                children[child.pipe] = child
            for pipe in _ready(children):
                if children[pipe].finished():
                    child = children.pop(pipe)
                    answers[child.prove, child.path] = child.answer()
    finally:
        for child in children.values():
            child.kill()
            child.reap()
    return {job: answers[job] for job in jobs}


def _ready(children: Mapping[int, _Child]) -> list[int]:
    """Those that said something; those whose time is up are killed, which says something, too."""
    poll = select.poll()
    for pipe in children:
        poll.register(pipe, select.POLLIN)
    left = min(child.deadline for child in children.values()) - time.monotonic()
    ready = poll.poll(max(0, left) * 1000)
    if not ready:
        for child in children.values():
            if child.deadline <= time.monotonic():
                child.kill()
    return [pipe for pipe, _ in ready]


class _Child:
    """A process that makes one proof and writes it, pickled, into a pipe."""

    def __init__(self, prove: Prover[Any], path: str) -> None:
        self.prove = prove
        self.path = path
        self.said = bytearray()
        self.deadline = time.monotonic() + _SECONDS
        self.killed = False
        self.pipe, sink = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _answer(prove, path, sink)
        os.close(sink)

    def finished(self) -> bool:
        """Read what there is; True at its end."""
        piece = os.read(self.pipe, 1 << 16)
        self.said += piece
        if len(self.said) > _ANSWER:
            self.kill()
            return True
        return not piece

    def kill(self) -> None:
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Wait for its end; its wait status. To be called once."""
        os.close(self.pipe)
        return os.waitpid(self.pid, 0)[1]

    def answer(self) -> Any:
        """The proof, or why there is none."""
        import pickle

        status = self.reap()
        if status == 0 and self.said and not self.killed:
            return pickle.loads(self.said)
        return self.prove.failed(self._death(status))

    def _death(self, status: int) -> str:
        if self.killed:
            return f"it was given up: {_SECONDS} s or {_ANSWER} bytes were not enough for it"
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return f"it was given up after {_CPU_SECONDS} s of processor time"
        return f"the process that read it died (wait status {status:#x})"


def _answer(prove: Prover[Any], path: str, sink: int) -> None:
    """The child's whole life: it never returns to what the parent was doing."""
    status = 1
    try:
        _limit()
        try:
            proof = prove.read(path)
        except MemoryError:
            proof = prove.failed(f"it needs more than {_MEMORY} bytes of memory to be read")
        except Exception as error:
            proof = prove.failed(f"it cannot be read: {type(error).__name__}: {error}")
        import pickle

        with os.fdopen(sink, "wb") as out:
            pickle.dump(proof, out)
        status = 0
    finally:
        os._exit(status)


def _limit() -> None:
    import resource

    _at_most(resource.RLIMIT_AS, _size() + _MEMORY)
    _at_most(resource.RLIMIT_CPU, _CPU_SECONDS)
    _at_most(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _at_most(kind: int, value: int) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, hard))


def _size() -> int:
    """Address space in use, in bytes; a guess where /proc is not mounted (a chroot)."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _MEMORY
