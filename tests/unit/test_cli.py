"""The command as it is run: statuses, what goes to stdout, and never a traceback."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit import trees
from tests.unit.building import MAC, guest, kernel, plan, settle

import pvprep
from pvprep import cli, converge, handover
from pvprep.errors import Exit, PvprepError, UsageError
from pvprep.journal import Journal

AGENT = Path(pvprep.__file__).parent.parent
READY = settle(guest())[0]


def pvprep_(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """A process of its own, from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "pvprep", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(AGENT)}, timeout=60, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read by the tests here, never written."""
    return trees.make(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `look` and `prepare` find: `facts` before and, after a preparation, READY's."""
    found: dict[str, Any] = {"facts": READY, "prepared": READY, "options": None}

    def look(_guest: Any, options: Any) -> Any:
        found["options"] = options
        return plan(found["facts"], **vars(options))

    def prepare(_guest: Any, options: Any, _screen: Any) -> Any:
        found["options"] = options
        if isinstance(found["prepared"], BaseException):
            raise found["prepared"]
        return plan(found["prepared"], **vars(options))

    monkeypatch.setattr(converge, "look", look)
    monkeypatch.setattr(converge, "prepare", prepare)
    monkeypatch.setattr(converge, "refuse_pending", lambda _journal: None)
    monkeypatch.setattr("pvprep.report.LOGS", "/dev/null/none")
    return found


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(words)
    return (status, *capfd.readouterr())


# Usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["check", "tls"], "`check` takes no 'tls'"),
        (["prepare", "now"], "`prepare` takes no 'now'"),
        (["check", "--verify"], "--verify belongs to `pvprep rollback`"),
        (["check", "--emit-config"], "--emit-config does not go with `check`"),
        (["rollback", "--emit-config=x"], "--emit-config does not go with `rollback`"),
        (["check", "--output=x"], "--output belongs to `pvprep report`"),
        (["report", "--output=/none/x"], "--output=/none/x: there is no directory /none"),
        (["config", "--dry-run"], "--dry-run does not go with `config`"),
        (["--attach", "loop"], "--attach goes with --image"),
        (["--key-file", "/k"], "--key-file goes with --image"),
        (["--image", "/dev/null", "--root", "/tmp"], "--root and --image are two ways"),
        (["--image", "/tmp"], "--image /tmp: no such file or device"),
        (["--image", "/none/disk"], "--image /none/disk: no such file or device"),
        (["detach", "--image", "/dev/null"], "--image does not go with `detach`"),
        (["check", "--image", "/dev/null", "--backup-to", "copy"], "--backup-to goes with `prep"),
        (["--image", "/dev/null", "--attach", "guestfs", "--initrd", "rebuild"], "runs the g"),
        (["--image", "/dev/null", "--to-xenstore"], "--to-xenstore is for a guest that runs"),
        (["--kernel-from", "host", "--kernel-package", "/etc/passwd"], "two sources of one kernel"),
        (["--kernel-package", "/etc/passwd", "--initrd", "append"], "none of its programs runs"),
        (["--kernel-package", "/etc/passwd", "--image", "/dev/null"], "none of its programs runs"),
        (["--kernel-from", "/none"], "--kernel-from /none: no such directory or package"),
        (["recover", "--dry-run"], "--dry-run does not go with `recover`"),
        (["--emit-config="], "--emit-config= wants a file"),
        (["--emit-config=/none/x"], "there is no directory /none"),
        (["--emit-config=/"], "that is a directory"),
        (["--emit-config=/proc/version/x"], "there is no directory"),
        (["--memory", "much"], "invalid int value: 'much'"),
        (["--type", "qemu"], "invalid choice: 'qemu'"),
        (["--format", "lxd"], "invalid choice: 'lxd'"),
        (["--xen", "5"], "'5' is not a release of Xen"),
        (["--xen", "3.2"], "the xl of Xen 3.2 does not read this form"),
        (["--xen", "4.5", "--format", "xm"], "Xen 4.5 has no xm any more"),
        (["--xen", "4.9", "--type", "pvh"], "Xen 4.9 has no PVH guests"),
        (["--format", "xm", "--type", "pvshim"], "xm has no PVH guests"),
        (["--format", "libvirt", "--type", "pvshim"], "libvirt has no word for pvshim"),
        (["--format", "xe", "--type", "hvm"], "--format xe is not made for the type hvm"),
        (["--format", "xe", "--memory", "512"], "it does not go with --memory"),
        (["--format", "xe", "--disk-backend", "/dev/x"], "it does not go with --disk-backend"),
        (["check", "--to-xenstore"], "--to-xenstore goes with `prepare` and `config`"),
        (["--dry-run", "--to-xenstore"], "without --dry-run"),
        (["--bootloader", "lilo"], "invalid choice: 'lilo'"),
        (["--root", "/none"], "--root /none: no such directory"),
        (["--root"], "expected one argument"),
        (["--kernel-package", "/none/k.deb"], "--kernel-package /none/k.deb: no such file"),
        (["--disk-backend", "xvda=/a", "--disk-backend", "/b"], "--disk-backend names xvda twice"),
        (["explain", "no.such"], "there is no finding or step 'no.such'"),
        (["--emit-config", "bifit.cfg"], "invalid choice: 'bifit.cfg'"),
        (["--ver"], "unrecognized arguments: --ver"),
        (["--memory", "0"], "memory in MiB is 0"),
        (["--memory", "-5"], "memory in MiB is -5"),
        (["--memory", "512", "--maxmem", "256"], "maxmem, 256 MiB, is less than memory"),
        (["--vcpus", "0"], "the number of vcpus is 0"),
        (["--name", "a b"], "'a b' is not a name for a domain"),
        (["--bridge", "br 0", "--mac", MAC], "'br 0' is not the name of a bridge"),
        (["--bridge", "br 0"], "'br 0' is not the name of a bridge"),
        (["--mac", "00:16:3e"], "'00:16:3e' is not the MAC address"),
        (["--disk-backend", "relative"], "is not an absolute path"),
        (["--disk-backend", "xvda="], "is not an absolute path"),
    ],
)
def test_wrong_usage_has_words_and_changes_nothing(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    status, out, err = run(capfd, *words)
    assert status == Exit.USAGE
    assert said in err
    assert err.startswith("pvprep: ")
    assert out == ""
    assert looked["options"] is None, "before anything was looked at"
    status, out, _ = run(capfd, *words, "--json")
    assert status == Exit.USAGE
    assert json.loads(out)["error"]["status"] == 2


def test_a_place_that_cannot_be_written_is_refused_at_once(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    status, out, err = run(capfd, f"--emit-config={tmp_path}/x")
    assert (status, out) == (2, "")
    assert "it cannot be written" in err
    assert looked["options"] is None


def test_the_options_are_what_was_asked_for(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    package = tmp_path / "k.deb"
    package.write_text("")
    run(
        capfd, "--device-names", "xvd", "--kernel-package", str(package), "--type", "pvh",
        "--bootloader", "pvgrub", "--name", "a", "--bridge", "b", "--memory", "1", "--maxmem", "2",
        "--vcpus", "3", "--disk-backend", "/dev/vg/a=b", "--disk-backend", "sdb=/dev/vg/b",
        "--mac", MAC.upper(), "--format", "libvirt", "--xen", "4.17.3", "--initrd", "rebuild",
    )  # fmt: skip
    options = looked["options"]
    assert vars(options) == {
        "device_names": "xvd", "kernel_packages": (str(package),), "type": "pvh",
        "bootloader": "pvgrub", "name": "a", "bridge": "b", "memory_mib": 1, "maxmem_mib": 2,
        "vcpus": 3, "disk_backends": {"xvda": "/dev/vg/a=b", "sdb": "/dev/vg/b"}, "macs": (MAC,),
        "form": "libvirt", "xen": (4, 17), "kernel_from": "", "initrd": "rebuild",
    }  # fmt: skip


# Statuses and stdout


@pytest.mark.parametrize(
    ("words", "facts", "status", "out"),
    [
        ([], READY, 0, ""),
        (["prepare"], READY, 0, ""),
        (["check"], READY, 0, ""),
        (["check"], guest(), 1, ""),
        (["check"], guest(as_root=False), 1, ""),
        (["--dry-run"], guest(), 0, ""),
        (["--dry-run"], guest(as_root=False), 1, ""),
        (["config"], READY, 0, "config"),
        (["config"], guest(), 1, ""),
        (["config", "--type", "hvm"], guest(), 0, "config"),
        (["--type", "hvm", "--emit-config"], READY, 0, "config"),
        (["config", "--format", "json"], READY, 0, "config"),
        (["--emit-config"], READY, 0, "config"),
        (["--dry-run", "--emit-config"], guest(), 0, "config"),
        (["--emit-config", "--dry-run"], guest(as_root=False), 1, ""),
        (["check", "--json"], guest(), 1, "json"),
        (["--json"], READY, 0, "json"),
        (["--json", "--emit-config"], READY, 0, "json"),
        (["config", "--json"], READY, 0, "json"),
        (["--dry-run", "--json"], guest(), 0, "json"),
    ],
)
def test_stdout_holds_data_or_nothing(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], words: list[str], facts: Any,
    status: int, out: str,
) -> None:  # fmt: skip
    looked["facts"] = looked["prepared"] = facts
    found, stdout, stderr = run(capfd, *words)
    assert found == status
    if out == "json":
        assert json.loads(stdout)["ready"] == (status == 0)
    else:
        assert (MAC in stdout) == (out == "config")
        assert bool(stdout) == bool(out)
    assert "Traceback" not in stderr


@pytest.mark.parametrize("status", [Exit.NOT_READY, Exit.PUT_BACK, Exit.HALF_WAY])
@pytest.mark.parametrize("more", [[], ["--json"], ["--emit-config"]])
def test_a_failure_has_words_and_its_status(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], status: Exit, more: list[str]
) -> None:
    looked["prepared"] = PvprepError("it broke", "mend it", status)
    found, out, err = run(capfd, *more)
    assert found == status
    assert err == "pvprep: it broke\n  do: mend it\n"
    if "--json" in more:
        assert json.loads(out)["error"] == {
            "message": "it broke", "hint": "mend it", "status": int(status),
        }  # fmt: skip
    else:
        assert out == ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/x"), "pvprep: /x: No space left on device"),
        (OSError("odd"), "pvprep: system: odd"),
        (KeyboardInterrupt(), "pvprep: interrupted"),
        (ModuleNotFoundError("No module named 'apt_pkg'"), "pvprep: No module named 'apt_pkg'"),
    ],
)
def test_what_python_raises_becomes_words(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], error: BaseException, words: str
) -> None:
    looked["prepared"] = error
    status, out, err = run(capfd, "--json")
    assert status == Exit.NOT_READY
    assert err.startswith(words)
    assert json.loads(out)["ready"] is False


def test_a_dry_run_shows_diffs_and_commands(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    looked["facts"] = guest({"/etc/fstab": "/dev/sda1 / ext4\n"})
    _, out, err = run(capfd, "--dry-run")
    assert "\n-/dev/sda1 / ext4\n+/dev/xvda1 / ext4\n" in err
    assert "# build /boot/initrd.img" in err
    assert err.endswith("Nothing was changed.\n")
    assert out == ""


# Where the config goes


def test_a_file_is_replaced_as_a_whole(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    place = tmp_path / "bifit.cfg"
    place.write_text("old")
    (tmp_path / "link").symlink_to("bifit.cfg")
    for name in (str(place), str(tmp_path / "link")):
        assert run(capfd, f"--emit-config={name}")[:2] == (0, "")
        assert f"mac={MAC}" in place.read_text()
        place.write_text("old")
    monkeypatch.chdir(tmp_path)
    assert run(capfd, "config", "--emit-config=new.cfg")[:2] == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bifit.cfg", "link", "new.cfg"]
    assert (tmp_path / "link").is_symlink()


def test_with_json_both_are_written(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "bifit.cfg"
    _, out, _ = run(capfd, "--json", f"--emit-config={place}")
    assert json.loads(out)["config"] == place.read_text()


def test_not_ready_leaves_the_file_alone(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    looked["prepared"] = guest(as_root=False)
    place = tmp_path / "bifit.cfg"
    place.write_text("old")
    assert run(capfd, f"--emit-config={place}")[0] == 1
    assert place.read_text() == "old"


def test_a_device_or_fifo_is_written_not_replaced(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    null = tmp_path / "null"
    null.symlink_to("/dev/null")  # should this ever fail, it must not be the system's own
    assert run(capfd, f"--emit-config={null}")[0] == 0
    assert null.is_symlink()
    assert null.is_char_device()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert run(capfd, f"--emit-config={fifo}")[0] == 0
    assert MAC.encode() in os.read(reading, 100_000)
    os.close(reading)


def test_a_full_disk_leaves_no_half_of_a_config(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, out, err = run(capfd, f"--emit-config={tmp_path}/x")
    assert (status, out) == (1, "")
    assert "the config cannot be written" in err
    assert "the guest is prepared" in err
    assert list(tmp_path.iterdir()) == []


# Processes of their own


def test_version_and_help_cost_nothing() -> None:
    heavy = ["apt", "apt_pkg", "jinja2", "distro", "json", "subprocess", "pvprep.guest"]
    for option in ("--version", "--help"):
        code = (
            "import sys\nfrom pvprep.cli import main\ntry:\n    main([sys.argv[1]])\n"
            f"except SystemExit as e:\n    assert not e.code\nfound = set({heavy}) & "
            "set(sys.modules)\nassert not found, found\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(AGENT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("pvprep 0." if option == "--version" else "usage: pvprep ")


def test_it_runs_from_a_checkout_with_the_systems_python() -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-W", "error", "-m", "pvprep", "explain", "kernel.none"],
        cwd=AGENT, capture_output=True, text=True, check=False,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith("kernel.none\n\nNo kernel is there")


def test_a_tree_can_be_checked(tree: Path) -> None:
    done = pvprep_("check", "--root", str(tree), "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["system"]["runs_as"] == "unknown"
    assert {"devices", "initrd", "bootloader"} <= {change["step"] for change in found["changes"]}
    assert [one for one in found["findings"] if one["level"] == "error"] == []
    assert found["pygrub"]["args"].startswith("root=/dev/xvda1 ")


@pytest.mark.parametrize("verb", ["check", "config", "status", "recover", "rollback"])
@pytest.mark.parametrize("state", ["empty", "etc-is-a-file", "damaged"])
def test_odd_trees_end_in_words(tmp_path: Path, verb: str, state: str) -> None:
    if state == "etc-is-a-file":
        (tmp_path / "etc").write_text("")
    if state == "damaged":
        store = tmp_path / "var/lib/pvprep/000001-20250101T000000Z"
        store.mkdir(parents=True)
        (store / "manifest").write_text('{"mark": 1}\n{"ma\n')
        (tmp_path / "var/lib/pvprep/boots").write_text('[\n{"boot": 1}\n' + "[" * 100_000)
    done = pvprep_(verb, "--root", str(tmp_path), "--json")
    assert "Traceback" not in done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    if state == "empty":
        return
    plain = pvprep_(verb, "--root", str(tmp_path))
    assert plain.returncode == done.returncode
    if plain.returncode:
        assert plain.stdout == ""
        assert plain.stderr


def test_a_run_that_was_stopped_is_told_by_status(tmp_path: Path) -> None:
    from pvprep.guest import Guest

    (tmp_path / "etc").mkdir()
    Journal(Guest(str(tmp_path))).begin({"verb": "prepare"})._lock.release()
    done = pvprep_("status", "--root", str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
    assert "run `pvprep recover`" in done.stderr
    assert pvprep_("check", "--root", str(tmp_path)).returncode == 4


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nobody_reads(stream: str, tree: Path) -> None:
    """A pipe that is closed already; the status stays what it is."""
    reading, writing = os.pipe()
    os.close(reading)
    words = ["explain"] if stream == "stdout" else ["check", "--root", str(tree)]
    done = subprocess.run(
        [sys.executable, "-m", "pvprep", *words], check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing},  # type: ignore
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == (0 if stream == "stdout" else 1)
    assert not done.stdout
    assert not done.stderr or stream == "stderr"


def test_streams_may_be_closed(tree: Path) -> None:
    command = f"{sys.executable} -m pvprep check --root {tree}"
    env = {**os.environ, "PYTHONPATH": str(AGENT)}
    for closed, kept in ((">&-", "2>&1 >&-"), ("2>&-", "2>&-")):
        done = subprocess.run(
            ["sh", "-c", f"{command} {kept}"], capture_output=True, text=True, check=False, env=env
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stdout == "" or closed == ">&-"


# The language


def sources() -> list[Path]:
    return sorted((AGENT / "pvprep").rglob("*.py"))


def test_the_grammar_is_that_of_python_3_9() -> None:
    assert len(sources()) > 80
    for path in sources():
        ast.parse(path.read_text(), str(path), feature_version=(3, 9))


def test_no_newer_library_is_used() -> None:
    """What can be seen without running it under 3.9; annotations are never evaluated."""
    newer = {
        "dataclass": {"slots", "kw_only", "match_args"}, "zip": {"strict"},
        "field": {"kw_only"}, "open_text": {"*"},
    }  # fmt: skip
    for path in sources():
        tree = ast.parse(path.read_text())
        if path.parent.name == "drivers":  # older still: 3.6, which has no such annotations
            ast.parse(path.read_text(), feature_version=(3, 6))
            continue
        assert "from __future__ import annotations" in path.read_text() or len(tree.body) < 6, path
        annotations = {id(inner) for node in ast.walk(tree) for inner in _annotations(node)}
        for node in ast.walk(tree):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
                names = {getattr(n, "id", getattr(n, "value", 0)) for n in (node.left, node.right)}
                union = names & {"None", None, "str", "int", "bytes", "dict", "list"}
                assert id(node) in annotations or not union, f"{where}: X | Y as a value"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                used = {word.arg for word in node.keywords}
                assert not used & newer.get(node.func.id, set()), where
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"pairwise", "bit_count", "removesuffix_", "UTC"}, where
            if isinstance(node, ast.ImportFrom) and node.module == "typing":
                late = {"TypeAlias", "ParamSpec", "Self", "assert_never", "override", "Never"}
                assert not late & {name.name for name in node.names}, where


def _annotations(node: ast.AST) -> list[ast.AST]:
    found = [getattr(node, name, None) for name in ("annotation", "returns")]
    return [inner for top in found if isinstance(top, ast.AST) for inner in ast.walk(top)]


def test_errors_carry_a_status() -> None:
    assert UsageError("x").status is Exit.USAGE
    assert PvprepError("x").status is Exit.PUT_BACK
    assert [int(status) for status in Exit] == [0, 1, 2, 3, 4]


# Where the config goes in a guest of Xen


def test_xenstore_is_asked_for_before_anything_changes(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], tree: Path
) -> None:
    status, out, err = run(capfd, "--to-xenstore", "--root", str(tree))
    assert (status, out) == (1, "")
    assert "xenstore cannot be reached" in err
    assert looked["options"] is None


def test_the_config_goes_to_xenstore(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(handover, "check", lambda _guest: None)
    monkeypatch.setattr(handover, "leave_config", lambda *what: left.append(what))
    status, out, err = run(capfd, "config", "--to-xenstore", "--format", "libvirt")
    assert (status, out) == (0, "")
    assert "in dom0, `pvprep-dom0 fetch`" in err
    ((_, config, form),) = left
    assert (form, config[:4]) == ("libvirt", b"<!--")


def test_what_a_release_cannot_load_is_no_config(
    looked: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    looked["facts"] = settle(guest(kernels=[kernel(proof={"compression": "zstd"})]))[0]
    status, out, err = run(capfd, "config", "--xen", "4.14")
    assert (status, out) == (1, "")
    assert "Xen 4.14 cannot load" in err and "kernel.dom0-too-old" in err
    assert run(capfd, "config", "--xen", "4.15")[0] == 0
