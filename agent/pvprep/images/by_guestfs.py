"""Attach by libguestfs: the host's kernel never mounts a foreign file system, nor reads a table.

A process of its own holds the handle, and serves the mounted tree by FUSE to this one, at a place
that only the two see. It ends with this one, however that ends, and the appliance with it.

What libguestfs' FUSE does (1.48, its lib/fuse.c) and the journal needs:

    fsync(2) of a file          the appliance's sync(2), which takes half a second in emulation, and
                                through QEMU to the image: hence the mounts inside are `sync`, where
                                that will do, and nobody asks for it
    fsync(2) of a directory     nothing, with success: hence they are `dirsync` at least
    write(2)                    to the appliance at once, 128 KiB at a time with `big_writes`
    rename(2) over an open file leaves .fuse_hidden files, but for `hard_remove`
    st_ino, st_nlink            the file system's own with `use_ino`: hard links are told apart
    mode, owner, times          passed on, to the nanosecond
    getxattr(2)                 as it is; a label of SELinux only where the host's kernel has no
                                SELinux of its own in the way
    setxattr(2)                 text alone: what follows a NUL is lost, of ACLs and capabilities all
    symlinks                    as they are; absolute ones are for Guest.resolve
    link, rename across mounts  EXDEV, though all has one st_dev
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, NoReturn, Optional

from ..errors import PvprepError
from ..facts import Layout
from ..guest import Completed, Guest, Line
from ..synced import written_through
from . import formats, mounting
from .appliance import Appliance
from .by_kernel import held_all, orderly
from .host import refusal
from .inuse import Held
from .keys import key_of
from .record import Record
from .request import Request

Say = Callable[[str], None]
_OPTIONS = "use_ino,hard_remove,big_writes,attr_timeout=30,entry_timeout=30"
_CACHE = 600  # seconds that it remembers what a directory holds; nobody else writes
_PATIENCE = 30.0  # seconds until a program that has something open lets go
_GRACE = 5.0  # seconds
_POLL = 0.02
_PR_SET_PDEATHSIG = 1


class SilentGuest(Guest):
    """A guest none of whose programs can run: they are not to run in this kernel, nor in any."""

    binary_attributes = False

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        line: Optional[Line] = None,
        tied: bool = False,
        offline: bool = False,
    ) -> Completed:
        """What a program that cannot be started gives, with the reason."""
        why = f"{argv[0]}: no program of a guest runs that libguestfs has attached"
        return Completed(tuple(argv), 127, f"{why}; --initrd append, or --attach loop")


@contextmanager
def attached(request: Request, say: Say) -> Iterator[Guest]:
    """The guest on these disks, mounted; afterwards the host is as it was. See images.attached."""
    if not importlib.util.find_spec("guestfs"):
        raise refusal(
            "the Python bindings of libguestfs are not installed",
            "install python3-guestfs (SUSE: python3-libguestfs), and run /usr/bin/python3; "
            "or --attach loop",
        )
    with ExitStack() as exits, orderly():
        held = held_all(request, exits)
        drives = [(one.path, _format(path, one)) for path, one in zip(request.disks, held)]
        exits.callback(Record().close)  # keeps the directory that is mounted on
        apart = exits.enter_context(mounting.apart())
        root = f"{apart.place}/root"
        os.mkdir(root)
        server = _Server(request, drives, root)
        try:
            layout, through = server.layout(say, request.key_file)
            if through:
                exits.enter_context(written_through(root))
            yield SilentGuest(root, layout=layout)
        except BaseException:
            apart.enter()
            server.end(say, failed=True)
            raise
        apart.enter()
        server.end(say, failed=False)


def _format(path: str, held: Held) -> str:
    if held.is_device:
        return "raw"
    form = formats.of(path)
    if form != "raw":
        formats.check(held.path, form)
    return form


class _Server:
    """The process with the handle, as its parent sees it."""

    def __init__(self, request: Request, drives: Sequence[tuple[str, str]], root: str) -> None:
        self._root = root
        answers, told = os.pipe()
        asked, questions = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(answers)
            os.close(questions)
            _serve(request, drives, root, os.fdopen(asked, "rb"), os.fdopen(told, "wb"))
        os.close(told)
        os.close(asked)
        self._answers, self._questions = os.fdopen(answers, "rb"), os.fdopen(questions, "wb")

    def layout(self, say: Say, key_file: str) -> tuple[Layout, bool]:
        """Wait until the tree is there; its layout, and whether it is written through.

        PvprepError where that fails.
        """
        found = self._listen(say, key_file)
        assert isinstance(found, tuple)
        return found

    def end(self, say: Say, failed: bool) -> None:
        """Take the tree away, and wait until all is written and the appliance is gone.

        failed: another error is on its way, ours is only told.
        """
        try:
            if os.path.ismount(self._root):
                mounting.detach(self._root)
                self._tell("end")
                self._listen(say, "")
        except PvprepError as error:
            if not failed:
                raise
            say(f"{error.message}; {error.hint}" if error.hint else error.message)
        finally:
            self._kill()

    def _listen(self, say: Say, key_file: str) -> object:
        while True:
            try:
                kind, value = pickle.load(self._answers)
            except (EOFError, pickle.UnpicklingError):
                raise PvprepError(
                    "libguestfs' appliance died",
                    "libguestfs-test-tool shows why it may; what pvprep had begun, "
                    "`pvprep recover` on this image brings to an end",
                ) from None
            if kind == "say":
                say(value)
            elif kind == "key":
                self._tell(_secret(key_file, value))
            elif kind == "error":
                raise value
            else:
                return value

    def _tell(self, what: str) -> None:
        try:
            pickle.dump(what, self._questions)
            self._questions.flush()
        except BrokenPipeError:
            pass  # it is dead, which _listen says

    def _kill(self) -> None:
        """Also where it had not begun, and all that it started."""
        for pipe in (self._answers, self._questions):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        end = time.monotonic() + _GRACE
        try:
            # One that has said its last word leaves by itself.
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(self._pid, signal.SIGKILL)
                time.sleep(_POLL)
        except ChildProcessError:
            pass
        # The appliance's own end would follow, a little later: nobody else could have the disks.
        end = time.monotonic() + _GRACE
        while time.monotonic() < end and (left := _session(self._pid)):
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(_POLL)


def _session(leader: int) -> list[int]:
    """The processes of a session, but for those that are dead already (proc(5): stat)."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                state, _, _, session = file.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state not in "ZX":
            found.append(int(name))
    return found


def _secret(key_file: str, name: str) -> str:
    try:
        key = key_of(name, key_file).decode()
    except UnicodeDecodeError:
        key = "\0"
    if "\0" in key:
        raise refusal(f"{key_file} is no text: libguestfs takes no such key", "--attach loop")
    return key


def _serve(
    request: Request, drives: Sequence[tuple[str, str]], root: str,
    asked: IO[bytes], told: IO[bytes],
) -> NoReturn:  # fmt: skip
    """The child's whole life: it never returns to what its parent was doing."""

    def tell(kind: str, value: object) -> None:
        pickle.dump((kind, value), told)
        told.flush()

    def key(name: str) -> str:
        tell("key", name)
        return str(pickle.load(asked))

    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # A Ctrl-C is for the parent: it needs the tree to put everything back.
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if "LIBGUESTFS_DEBUG" not in os.environ:
            # It has a line for each file that is not there; what matters is raised as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        handle = _launch(drives, request.read_only)
        appliance = Appliance(handle, request.read_only, lambda line: tell("say", line), key)
        appliance.mount()
        handle.mount_local(
            root, readonly=request.read_only, options=_OPTIONS, cachetimeout=_CACHE
        )
        loop = threading.Thread(target=handle.mount_local_run, daemon=True)
        loop.start()
        tell("layout", (appliance.layout(), appliance.writes_through))
        pickle.load(asked)  # "end"; or EOFError
        loop.join(_PATIENCE)
        if loop.is_alive():
            raise PvprepError("a program still has something open in the guest's tree")
        appliance.end()
        handle.close()
        tell("ended", None)
    except PvprepError as error:
        tell("error", error)
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone
    except Exception as error:  # libguestfs raises RuntimeError
        tell("error", refusal(f"libguestfs: {error}", "libguestfs-test-tool shows more"))
    finally:
        os._exit(0)


def _launch(drives: Sequence[tuple[str, str]], read_only: bool) -> Any:
    """An appliance with these disks, launched."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_program("pvprep")
    handle.set_pgroup(True)
    if "LIBGUESTFS_BACKEND" not in os.environ:
        handle.set_backend("direct")  # libvirt's would run it as a user who may not read the disks
    for path, form in drives:
        handle.add_drive_opts(path, format=form, readonly=read_only)
    handle.launch()
    return handle
