"""Something goes wrong at one call of a whole conversion of a real root, and what is left then.

The root stays as it is: each try works on a layer above it, so a try costs little and all that it
changed is in the layer.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.roots import snapshot
from tests.roots.runs import LEFT, OURS
from tests.unit.journal_tools import calls

from pvprep import converge, history
from pvprep.errors import Exit, PvprepError
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.report import Screen

INTERRUPTED = 98
# No code of the guest runs, so that every call is one of pvprep's own.
OPTIONS = Options(initrd="append")


class Layer:
    """A tree above one that stays as it is (see trees.layer)."""

    def __init__(self, lower: Path, merged: Path) -> None:
        self.lower = lower
        self.root = merged
        self._upper = merged.parent / "upper"
        self._upper.chmod(lower.stat().st_mode & 0o7777)
        shutil.copystat(lower, self._upper)

    def prepare(self) -> Exit:
        """Convert it in this process."""
        plan = converge.prepare(Guest(str(self.root)), OPTIONS, Screen(io.StringIO()))
        return Exit.DONE if plan.ready else Exit.NOT_READY

    def history(self, verb: str) -> Exit:
        """`recover` or `rollback`, in this process."""
        return history.run(verb, Guest(str(self.root)), False, False, False, False)

    @property
    def ready(self) -> bool:
        """Whether nothing is left to do."""
        return converge.look(Guest(str(self.root)), OPTIONS).ready

    def differences(self) -> list[str]:
        """Where it differs from the tree below, but for what a conversion and its undo leave."""
        paths = ["/", *self._touched("")]
        before, after = _taken(self.lower, paths), _taken(self.root, paths)
        found = snapshot.differences(before, after, (OURS,))
        return [line for line in found if line not in LEFT]

    def _touched(self, above: str) -> Iterator[str]:
        for item in os.scandir(f"{self._upper}{above}/"):
            yield f"{above}/{item.name}"
            if item.is_dir(follow_symlinks=False):
                yield from self._touched(f"{above}/{item.name}")


def _taken(root: Path, paths: list[str]) -> snapshot.Snapshot:
    there = [path for path in paths if os.path.lexists(f"{root}{path}")]
    return {path: snapshot.entry(root, path) for path in there}


def forked(work: Callable[[], Any]) -> int:
    """The status of a child that does the work: an Exit, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os._exit(int(work()))
        except PvprepError as error:
            os._exit(int(error.status))
        except KeyboardInterrupt:
            os._exit(INTERRUPTED)  # the command line says that nothing was changed
        except OSError:
            os._exit(int(Exit.NOT_READY))  # as it says of this, which a journal would have caught
        except BaseException:
            traceback.print_exc(file=sys.__stdout__)
            os._exit(99)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


@contextmanager
def going_wrong(at: int, wrong: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Have something happen ahead of the nth call that alters anything.

    What a child of this process does (unpacking, for one) does not count.
    """
    count, own = 0, os.getpid()

    def before(name: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        count += os.getpid() == own
        if count == at and os.getpid() == own:
            wrong(name, args)

    with calls(before):
        yield


def count(work: Callable[[], Any]) -> int:
    """How many calls the work alters something by."""
    reader, writer = os.pipe()
    seen = 0

    def before(_name: str, _args: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += 1

    def counted() -> int:
        with calls(before):
            status = int(work())
        os.write(writer, b"%d" % seen)
        return status

    status = forked(counted)
    os.close(writer)
    with open(reader, "rb") as pipe:
        found = int(pipe.read() or 0)
    assert status == 0, status
    return found
