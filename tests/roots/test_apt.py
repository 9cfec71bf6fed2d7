"""apt and dpkg for real, in real trees."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from tests.roots.told import Told
from tests.roots.trees import KERNEL, LOOKING, in_tree, package

from pvprep.changes import InstallPackages
from pvprep.facts import Distro
from pvprep.findings import Level
from pvprep.guest import Guest
from pvprep.packages import dpkg
from pvprep.packages.apt import Apt
from pvprep.packages.kernels import kernel_candidates
from pvprep.packages.manager import Candidate

pytestmark = pytest.mark.roots


def work(root: Path, action: Callable[[Apt], object], timeout: float = 60) -> Told:
    """Let Apt act on a tree; an error is kept, not raised."""

    def act(guest: Guest) -> Told:
        return Told.of(lambda line, progress: Apt(guest, line, progress, timeout), action)

    return in_tree(root, act)


def install(root: Path, *names: str, files: tuple[Path, ...] = (), timeout: float = 60) -> Told:
    change = InstallPackages("test", names, tuple(map(str, files)))
    return work(root, lambda apt: apt.install(change), timeout)


def ids(root: Path) -> dict[str, str]:
    """The findings of a check, as id -> message."""
    return {found.id: found.message for found in dpkg.check(Guest(str(root)))}


def test_a_kernel_comes_and_goes(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = dpkg.installed(Guest(str(tree)))
    told = install(tree, KERNEL)
    assert told.error is None
    assert f"{KERNEL}:amd64" in told.installed
    assert [path.name for path in (tree / "boot").glob("vmlinuz-*-cloud-amd64")]
    # By the host's hardware, if the package built it; so it is left to pvprep.
    assert list((tree / "boot").glob("initrd.img-*")) == []
    assert "Setting up linux-image-" in told.text
    fetched = [f for f, text in told.progress if "MB" in text and f is not None]
    assert fetched == sorted(fetched)
    assert 0.0 <= fetched[0] < fetched[-1] <= 1.0
    assert any(f and f > 0.5 and text.startswith("Installed linux") for f, text in told.progress)
    assert not list((tree / "var/cache/apt/archives").glob("*.deb"))
    new = sorted(set(told.installed) - set(before))
    purged = work(tree, lambda apt: apt.purge([*new, "neverseen:amd64"]))
    assert purged.error is None
    assert purged.installed == before
    assert list((tree / "boot").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_candidates_say_what_could_be_installed(tree: Path) -> None:
    found: list[dict[str, Candidate]] = []

    def look(guest: Guest) -> dict[str, Candidate]:
        apt = Apt(guest, lambda _line: None, lambda _fraction, _text: None)
        return apt.candidates(["no-such-package", KERNEL, "dash"])

    found.append(in_tree(tree, look))
    assert list(found[0]) == [KERNEL, "dash"]
    assert found[0][KERNEL].version.startswith("6.1.")
    assert found[0][KERNEL].architecture == "amd64"
    assert found[0][KERNEL].installed == ""
    assert found[0]["dash"].installed != ""
    assert f"{KERNEL}:amd64" not in dpkg.installed(Guest(str(tree)))


def test_without_network_the_source_is_named(tree: Path) -> None:
    (tree / "etc/apt/sources.list").write_text("deb http://127.0.0.1:9/debian bookworm main\n")
    for path in (tree / "var/lib/apt/lists").glob("*_*"):
        path.unlink()
    told = work(tree, lambda apt: apt.candidates([KERNEL]))
    assert told.error is not None
    assert told.error.message.startswith("cannot fetch the package lists: ")
    assert "127.0.0.1" in told.error.message
    assert "sources.list" in told.error.hint


def test_a_dpkg_that_is_killed_is_an_error_and_what_it_left_goes(
    tree: Path, tmp_path: Path
) -> None:
    before = dpkg.installed(Guest(str(tree)))
    deb = package(tmp_path, "killer", preinst="kill -9 $PPID; sleep 1")
    told = install(tree, files=(deb,))
    assert told.error is not None
    assert "killed" in f"{told.error.message} {told.text}".lower() or "signal" in told.error.message
    # dpkg's own journal alone knows of it, until dpkg runs again.
    assert work(tree, lambda apt: apt.mend()).error is not None
    purged = work(tree, lambda apt: (apt.purge(["killer:all"]), apt.mend()))
    assert purged.error is None
    assert purged.installed == before


class _Slowly(BaseHTTPRequestHandler):
    """An archive of one package, which comes so slowly that somebody presses Ctrl-C."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        data = self.files.get(self.path.rsplit("/", 1)[-1])
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not self.path.endswith(".deb"):
            self.wfile.write(data)
            return None
        os.kill(os.getpid(), signal.SIGINT)
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(1)
        return None

    def log_message(self, *_words: object) -> None:
        """Nobody wants to know."""


def test_an_interrupt_ends_a_download_and_nothing_is_installed(
    tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deb = package(tmp_path, "slow", "1.0")
    control = subprocess.run(["dpkg-deb", "-f", deb], check=True, stdout=subprocess.PIPE).stdout
    data = deb.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    listed = control + f"Filename: ./slow.deb\nSize: {len(data)}\nSHA256: {digest}\n".encode()
    release = f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n".encode()
    _Slowly.files = {"slow.deb": data, "Packages": listed, "Release": release}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slowly)
    address = f"http://127.0.0.1:{server.server_port}"
    (tree / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {address} ./\n")
    (tree / "etc/apt/apt.conf.d/99direct").write_text('Acquire::http::Proxy "DIRECT";\n')

    def act(guest: Guest) -> None:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        apt = Apt(guest, lambda _line: None, lambda _fraction, _text: None)
        apt.update()
        apt.install(InstallPackages("test", ("slow",)))

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_tree(tree, act)
    assert time.monotonic() - began < 60
    assert "slow:all" not in dpkg.installed(Guest(str(tree)))
    assert capfd.readouterr() == ("", "")
    server.server_close()


def _grow_old(lists: Path) -> None:
    """Make package lists look as though the archive had moved on since they were fetched."""
    for path in lists.glob("*_Packages*"):
        cat = ["/usr/lib/apt/apt-helper", "cat-file", path]
        content = subprocess.run(cat, check=True, stdout=subprocess.PIPE).stdout
        path.unlink()
        plain = path.with_name(path.name.split("_Packages")[0] + "_Packages")
        plain.write_bytes(content.replace(b"/sensible-utils_0", b"/sensible-utils_gone"))
    for path in lists.glob("*_InRelease"):
        content = re.sub(
            rb"\nDate: .*", b"\nDate: Thu, 01 Jan 2015 00:00:00 UTC", path.read_bytes()
        )
        path.write_bytes(re.sub(rb"\b[0-9a-f]{64}\b", b"0" * 64, content))
        os.utime(path, (0, 0))


def test_lists_that_are_too_old_are_fetched_anew(tree: Path) -> None:
    _grow_old(tree / "var/lib/apt/lists")
    told = install(tree, "sensible-utils")
    assert told.error is None
    assert "too old" in told.lines[0]
    assert "sensible-utils:all" in told.installed


def test_package_files_bring_what_they_need(tree: Path, tmp_path: Path) -> None:
    needs = {"Depends": "modules-test (= 1), sensible-utils"}
    files = (package(tmp_path, "image-test", **needs), package(tmp_path, "modules-test"))
    told = install(tree, files=files)
    assert told.error is None
    assert {"image-test:all", "modules-test:all", "sensible-utils:all"} <= set(told.installed)
    assert install(tree, files=files).lines == []  # nothing to do the second time


def test_a_file_that_is_no_package_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "kernel.deb").write_bytes(b"not an archive\n" * 100)
    told = install(tree, files=(tmp_path / "kernel.deb",))
    assert told.error is not None
    assert "kernel.deb" in told.error.message


def test_scripts_find_nobody_to_ask_and_a_clean_environment(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBIAN_HAS_FRONTEND", "1")
    monkeypatch.setenv("DEBCONF_REDIR", "1")
    monkeypatch.setenv("DEBCONF_OLD_FD_BASE", "5")
    script = "env > /saw; readlink /proc/self/fd/0 >> /saw; read answer || echo nobody >> /saw"
    assert install(tree, files=(package(tmp_path, "curious", postinst=script),)).error is None
    saw = (tree / "saw").read_text().splitlines()
    assert not [line for line in saw if line.startswith(("DEBIAN_HAS", "DEBCONF_OLD"))]
    assert {"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "/dev/null", "nobody"} <= set(
        saw
    )


def test_scripts_find_nothing_of_this_machine(tree: Path, tmp_path: Path) -> None:
    told = install(tree, files=(package(tmp_path, "curious", postinst=f"({LOOKING}) > /saw"),))
    assert told.error is None
    assert (tree / "saw").read_text() == "end\n"


def test_a_failing_script_is_explained_reported_and_mended(tree: Path, tmp_path: Path) -> None:
    script = "test -e /mended || { echo the wheel has come off; exit 3; }"
    told = install(tree, files=(package(tmp_path, "cart", postinst=script),))
    assert told.error is not None
    assert "the wheel has come off" in told.error.message
    assert "cart:all" in told.installed
    found = dpkg.check(Guest(str(tree)))
    assert [(f.id, f.level, f.where) for f in found] == [
        ("dpkg.broken", Level.ERROR, "/var/lib/dpkg/status")
    ]
    assert "cart:all: install ok half-configured" in found[0].evidence
    still = work(tree, lambda apt: apt.mend())
    assert still.error is not None
    assert "cart:all" in still.error.message
    (tree / "mended").touch()
    assert work(tree, lambda apt: apt.mend()).error is None
    assert ids(tree) == {}


def test_a_broken_package_can_be_purged(tree: Path, tmp_path: Path) -> None:
    before = dpkg.installed(Guest(str(tree)))
    needs = {"Depends": "wheel"}
    files = (package(tmp_path, "wheel", postinst="exit 1"), package(tmp_path, "cart", **needs))
    assert install(tree, files=files).error is not None
    told = work(tree, lambda apt: apt.purge(["cart:all", "wheel:all"]))
    assert told.error is None
    assert told.installed == before
    assert ids(tree) == {}


def test_a_protected_package_that_came_along_goes_again(tree: Path, tmp_path: Path) -> None:
    before = dpkg.installed(Guest(str(tree)))
    assert install(tree, files=(package(tmp_path, "armour", Protected="yes"),)).error is None
    told = work(tree, lambda apt: apt.purge(["armour:all"]))
    assert told.error is None
    assert told.installed == before


def test_a_purge_takes_no_other_package_along(tree: Path, tmp_path: Path) -> None:
    needs = {"Depends": "wheel"}
    assert install(tree, files=(package(tmp_path, "wheel"),)).error is None
    assert install(tree, files=(package(tmp_path, "cart", **needs),)).error is None
    told = work(tree, lambda apt: apt.purge(["wheel:all"]))
    assert told.error is not None
    assert "cart depends on wheel" in told.error.message
    assert {"cart:all", "wheel:all"} <= set(told.installed)


def test_dpkg_interrupted_in_its_journal(tree: Path) -> None:
    (tree / "var/lib/dpkg/updates/0001").write_text("Package: cart\n")
    assert list(ids(tree)) == ["dpkg.broken"]


def test_no_sources(tree: Path) -> None:
    (tree / "etc/apt/sources.list").write_text("# deb http://a.example/ b c\ndeb cdrom:[x]/ b c\n")
    assert list(ids(tree)) == ["apt.sources"]
    sources = tree / "etc/apt/sources.list.d/x.sources"
    sources.write_text("Types: deb-src\nURIs: http://a.example/\n")
    assert list(ids(tree)) == ["apt.sources"]
    sources.write_text("Enabled: no\nTypes: deb\n\nTypes: deb deb-src\nURIs: http://a.example/\n")
    assert ids(tree) == {}


def test_a_held_kernel_is_reported_and_left_alone(tree: Path, tmp_path: Path) -> None:
    old = package(tmp_path, KERNEL, "0", Architecture="amd64")
    assert install(tree, files=(old,)).error is None
    in_tree(tree, lambda guest: guest.run(["apt-mark", "hold", KERNEL]))
    assert ids(tree) == {"dpkg.held": f"on hold, and left alone: {KERNEL}:amd64"}
    told = install(tree, KERNEL)
    assert told.error is not None
    assert f"on hold: {KERNEL}:amd64" in told.error.message
    assert told.installed[f"{KERNEL}:amd64"] == "0"


def test_a_plan_that_removes_a_package_is_refused(tree: Path, tmp_path: Path) -> None:
    harm = {"Conflicts": "kmod"}
    told = install(tree, files=(package(tmp_path, "harm", **harm),))
    assert told.error is not None
    assert "kmod:amd64" in told.error.message
    assert "kmod:amd64" in told.installed
    assert "harm:all" not in told.installed


def test_an_upgrade_is_told_where_it_is_needed(tree: Path, tmp_path: Path) -> None:
    assert install(tree, files=(package(tmp_path, "sensible-utils", "0"),)).error is None
    needs = {"Depends": "sensible-utils (>= 0.0.1)"}
    told = install(tree, files=(package(tmp_path, "newer", **needs),))
    assert told.error is None
    assert told.lines[0].startswith("upgrades sensible-utils:all 0 -> ")
    assert "needed by newer" in told.lines[0]


def _hold_lock(tree: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that holds dpkg's lock for some time, as another apt would."""
    script = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    lock = tree / "var/lib/dpkg/lock-frontend"
    argv = [sys.executable, "-c", script, str(lock), str(seconds)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_lock_is_reported_with_its_holder(tree: Path, tmp_path: Path) -> None:
    with _hold_lock(tree, 60) as holder:
        assert f"process {holder.pid} (" in ids(tree)["dpkg.locked"]
        told = install(tree, files=(package(tmp_path, "cart"),), timeout=0.5)
        holder.kill()
    assert told.error is not None
    assert f"still in use by process {holder.pid}" in told.error.message
    assert "cart:all" not in told.installed
    assert ids(tree) == {}


def test_a_lock_is_waited_for(tree: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with _hold_lock(tree, 2) as holder:
        told = install(tree, files=(package(tmp_path, "cart"),))
    assert told.error is None
    assert time.monotonic() - began >= 2
    waiting = [line for line in told.lines if line.startswith("waiting for ")]
    assert len(waiting) == 1
    assert str(holder.pid) in waiting[0]


def test_the_lists_being_fetched_by_another_are_waited_for(tree: Path) -> None:
    with open(tree / "var/lib/apt/lists/lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        told = work(tree, lambda apt: apt.update(), timeout=0.5)
    assert told.error is not None
    assert "lists" in told.error.message


def test_an_i386_guest_gets_the_64_bit_kernel(tree_i386: Path) -> None:
    names = kernel_candidates(Distro("debian"), "i386")
    before = dpkg.installed(Guest(str(tree_i386)))

    def look(guest: Guest) -> dict[str, Candidate]:
        apt = Apt(guest, lambda _line: None, lambda _fraction, _text: None)
        return apt.candidates([*names, f"{KERNEL}:amd64"])

    found = in_tree(tree_i386, look)
    assert "linux-image-amd64:amd64" in found
    assert found["linux-image-amd64:amd64"].architecture == "amd64"
    refused = install(tree_i386, f"{KERNEL}:amd64")
    assert refused.error is not None
    assert "does not know the architecture amd64" in refused.error.message
    architectures = tree_i386 / "var/lib/dpkg/arch"
    architectures.write_text(dpkg.with_architecture("", "i386", "amd64"))
    told = install(tree_i386, f"{KERNEL}:amd64")
    assert told.error is None
    new = set(told.installed) - set(before)
    assert f"{KERNEL}:amd64" in new
    assert [path.name for path in (tree_i386 / "boot").glob("vmlinuz-*-cloud-amd64")]
    purged = work(tree_i386, lambda apt: apt.purge(sorted(new)))
    assert purged.installed == before
    architectures.unlink()
    done = in_tree(tree_i386, lambda guest: guest.run(["dpkg", "--print-foreign-architectures"]))
    assert (done.status, done.output) == (0, "")


def test_the_check_is_quick_on_a_long_status_file(tmp_path: Path) -> None:
    stanza = (
        "Package: package-{0}\nStatus: install ok installed\nPriority: optional\n"
        "Architecture: amd64\nVersion: 1.{0}\nDescription: one of many\n" + " words\n" * 280 + "\n"
    )
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    status = tmp_path / "var/lib/dpkg/status"
    status.write_text("".join(stanza.format(number) for number in range(2500)))
    assert status.stat().st_size > 4_500_000
    guest = Guest(str(tmp_path))
    times = []
    for _ in range(5):
        began = time.process_time()
        dpkg.check(guest)
        times.append(time.process_time() - began)
    assert min(times) < 0.030
    assert len(dpkg.installed(guest)) == 2500


def test_nothing_imports_apt_for_a_check(tree: Path) -> None:
    script = (
        "import sys\n"
        "from pvprep.guest import Guest\n"
        "from pvprep.packages.apt import Apt\n"
        "apt = Apt(Guest(sys.argv[1]), print, print)\n"
        "apt.check(), apt.installed()\n"
        "print([name for name in ('apt', 'apt_pkg', 'subprocess') if name in sys.modules])\n"
    )
    agent = Path(__file__).resolve().parents[2] / "agent"
    said = subprocess.run(
        [sys.executable, "-c", script, str(tree)],
        env={**os.environ, "PYTHONPATH": str(agent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "[]\n"
