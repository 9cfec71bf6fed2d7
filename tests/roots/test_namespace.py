"""The mounts around a tree: what is seen inside, and that nothing is left outside."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from tests.roots.trees import LOOKING, in_tree

from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.namespace import enter, for_packages

pytestmark = pytest.mark.roots


def _mounts(root: Path) -> list[str]:
    """Those of this tree: others work here as well."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(root) in line]


def _names(root: Path) -> list[str]:
    return sorted(os.path.join(at, name) for at, dirs, names in os.walk(root) for name in names)


def _say(guest: Guest, script: str) -> str:
    return guest.run(["sh", "-c", script]).output


def test_a_program_in_the_tree_finds_what_it_needs(bookworm: Path) -> None:
    script = """
        ls /proc/self/status /dev/null
        ls -d /sys/block
        echo x > /dev/null && head -c 4 /dev/urandom | wc -c
        cat < /dev/fd/0 <<end
through /dev/fd
end
        touch /dev/shm/x && echo shm
        script --quiet --command tty /dev/shm/y
        echo end
    """
    said = in_tree(bookworm, lambda guest: _say(guest, script)).split("\n")
    assert [line.strip() for line in said if line] == [
        "/dev/null", "/proc/self/status", "/sys/block", "4", "through /dev/fd", "shm",
        "/dev/pts/0", "end",
    ]  # fmt: skip


def test_a_program_finds_nothing_of_this_machine(bookworm: Path) -> None:
    with socket.socket(socket.AF_UNIX) as upstart, socket.socket() as daemon:
        upstart.bind("\0/com/ubuntu/upstart/pvprep-tests")
        daemon.bind(("127.0.0.1", 0))
        daemon.listen()
        call = f"exec 3<>/dev/tcp/127.0.0.1/{daemon.getsockname()[1]} && echo answered"

        def look(guest: Guest) -> list[str]:
            programs = (["sh", "-c", LOOKING], ["bash", "-c", call])
            return [guest.run(program, offline=True).output for program in programs]

        looked, called = in_tree(bookworm, look)
    assert looked == "end\n"
    assert "answered" not in called and "unreachable" in called


def test_sys_cannot_be_written_through_the_tree(bookworm: Path) -> None:
    said = in_tree(bookworm, lambda guest: _say(guest, "echo 1 > /sys/kernel/profiling"))
    assert "Read-only file system" in said


def test_services_are_not_started(tree: Path) -> None:
    script = tree / "etc/init.d/testservice"
    script.write_text("#!/bin/sh\ntouch /started\n")
    script.chmod(0o755)
    start = "invoke-rc.d testservice start && start-stop-daemon --start --exec /bin/touch -- /up"
    done = in_tree(tree, lambda guest: guest.run(["sh", "-c", start]))
    assert done.status == 0
    assert not (tree / "started").exists()
    assert not (tree / "up").exists()


@pytest.mark.parametrize("link", ["", "../run/systemd/resolve/stub-resolv.conf"])
def test_inside_names_are_resolved_as_outside_and_the_root_is_a_mount(
    tree: Path, link: str
) -> None:
    resolver = tree / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    if link:
        resolver.symlink_to(link)
    else:
        resolver.write_text("nameserver 192.0.2.1\n")

    def look(guest: Guest) -> str:
        for_packages(guest, fetches=True)
        return _say(guest, "cat /etc/resolv.conf; awk '$5 == \"/\" {print 1}' /proc/self/mountinfo")

    own = Path("/etc/resolv.conf").read_text()
    said = in_tree(tree, look)
    assert said.startswith(own)
    assert said[len(own) :].strip() == "1"
    assert os.readlink(resolver) == link if link else "192.0.2.1" in resolver.read_text()


def test_nothing_is_left_after_a_kill(tree: Path) -> None:
    mounts, names = _mounts(tree), _names(tree)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        enter(Guest(str(tree)))
        os.write(writer, b"in")
        signal.pause()
        os._exit(0)
    assert os.read(reader, 2) == b"in"
    assert f"{tree}/proc" in Path(f"/proc/{pid}/mountinfo").read_text()
    assert _mounts(tree) == mounts
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert _mounts(tree) == mounts
    assert _names(tree) == names


def test_a_missing_directory_is_named_with_its_remedy(tree: Path) -> None:
    (tree / "sys").rmdir()
    with pytest.raises(PvprepError) as caught:
        in_tree(tree, lambda guest: None)
    assert "no directory /sys" in caught.value.message
    assert caught.value.hint.startswith(f"mkdir {tree}/sys")


def test_a_link_instead_of_a_directory_is_not_followed(tree: Path) -> None:
    (tree / "sys").rmdir()
    (tree / "sys").symlink_to("/etc")
    with pytest.raises(PvprepError, match="no directory /sys"):
        in_tree(tree, lambda guest: None)


def test_our_own_root_is_left_as_it_is() -> None:
    before = os.readlink("/proc/self/ns/mnt")
    enter(Guest("/"))
    assert os.readlink("/proc/self/ns/mnt") == before
