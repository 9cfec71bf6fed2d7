"""What pvprep creates is nobody else's to read, and what it starts it starts with care.

An audit hook (sys.addaudithook) sees every open, mkdir, rename and program of a whole preparation,
as strace(1) would. The umask is 0: no mode is right by luck. Hooks stay for good, so that runs in a
process of its own.
"""

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

import pvprep

AGENT = Path(pvprep.__file__).parent.parent
TOP = Path(__file__).parents[2]
RUN = """
import json, os, stat, sys
from pathlib import Path
from unittest import mock

import pvprep.cli, pvprep.converge, pvprep.survey
from pvprep.beneath import shown
from tests.unit import trees

top = Path(sys.argv[1])
fresh, seen = [], []

def look():
    for path in list(fresh):
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        fresh.remove(path)
        seen.append(["created", path, stat.S_IMODE(mode)])

def hook(event, args):
    try:
        look()  # before anything can have changed the mode
        if event == "open" and args[2] & os.O_CREAT and isinstance(args[0], str):
            if not os.path.lexists(args[0]):
                fresh.append(shown(args[0]))
        elif event == "os.mkdir":
            below = os.readlink(f"/proc/self/fd/{args[2]}") if args[2] >= 0 else ""
            fresh.append(os.path.join(below, shown(os.fspath(args[0]))))
        elif event == "subprocess.Popen":
            seen.append(["started", [str(one) for one in args[1]], args[3]])
        elif event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn"):
            seen.append(["bypassed", event, str(args)])
    except Exception as error:
        seen.append(["broken", repr(error), event])

os.umask(0)
os.environ["CANARY_VARIABLE"] = "x"
with mock.patch.multiple(pvprep.converge, GuestWorkers=lambda *_: trees.Builder(top / "tree")), \\
     mock.patch.object(pvprep.converge.namespace, "enter", lambda _: None), \\
     mock.patch("pvprep.report.LOGS", str(top / "log")):
    sys.addaudithook(hook)
    root = ["--root", str(top / "tree"), "--mac", "00:16:3e:12:34:56"]
    statuses = [
        pvprep.cli.main([*root, f"--emit-config={top}/config"]),
        pvprep.cli.main(["report", *root, f"--output={top}/report"]),
    ]
look()
print(json.dumps([statuses, seen, fresh]))
"""
# The fake builder of initrds makes it, by the umask; a real one by its own settings.
NOT_OURS = ".pvprep-initrd-"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    top = tmp_path_factory.mktemp("rights")
    trees.make(top / "tree")
    initrd = next((top / "tree/boot").glob("initrd*"))
    initrd.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(top)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": f"{AGENT}:{TOP}", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    statuses, seen, unseen = json.loads(done.stdout)
    assert statuses == [0, 0], done.stderr
    assert (initrd.stat().st_mode & 0o777, (top / "report").stat().st_mode & 0o777) == (
        0o600, 0o600,
    )  # fmt: skip
    assert not unseen
    return list(seen)


def test_every_file_is_created_for_its_owner_alone(events: list[Any]) -> None:
    created = [event for event in events if event[0] == "created"]
    wide = [
        f"{path} {mode:o}"
        for _, path, mode in created
        if mode & 0o077 and NOT_OURS not in path and not path.endswith("/log")
    ]
    assert wide == []
    kinds = ("manifest", "reserve", "lock", ".pvprep-", ".tmp", ".log")
    assert all(any(kind in path for _, path, _ in created) for kind in kinds), created


def test_programs_are_started_without_a_shell_and_with_an_environment_of_ours(
    events: list[Any],
) -> None:
    assert [event for event in events if event[0] in ("bypassed", "broken")] == []
    for _, argv, env in (event for event in events if event[0] == "started"):
        assert env is not None, argv
        assert "CANARY_VARIABLE" not in env, argv


def calls() -> list[tuple[Path, ast.Call, str]]:
    """Every call in the shipped code, with what is called."""
    return [
        (path, node, ast.unparse(node.func))
        for path in sorted(AGENT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def test_nothing_is_started_that_the_hook_did_not_see() -> None:
    """All of the agent, the paths that no test takes included."""
    starts = ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.call")
    for path, call, name in calls():
        assert name not in ("os.system", "os.popen", "subprocess.getoutput"), path
        given = {keyword.arg for keyword in call.keywords}
        assert "shell" not in given, f"{path}:{call.lineno}"
        if name in starts:
            assert "env" in given, f"{path}:{call.lineno} hands on the caller's environment"
        if name.startswith("tempfile.") and name.endswith("mktemp"):
            raise AssertionError(f"{path}:{call.lineno}")


def test_what_is_opened_for_writing_says_who_may_read_it() -> None:
    """By os.open with a mode, or open with an opener; else it is known to be no secret."""
    known = {"namespace.py"}  # scripts that stand in for programs, for all to run
    for path, call, name in calls():
        words = [ast.unparse(word) for word in call.args]
        if name == "os.open" and "O_CREAT" in " ".join(words):
            assert len(words) == 3, f"{path}:{call.lineno}"
        writes = len(words) > 1 and words[1].strip("'") in ("w", "wb", "a", "x", "xb")
        if name == "open" and writes and path.name not in known:
            safe = any(keyword.arg == "opener" for keyword in call.keywords)
            made = ("os.open(", "os.dup(", "fd", "descriptor")
            by_descriptor = words[0].startswith(made)
            nowhere = words[0] == "os.devnull"
            there = path.name == "delivery.py" and words[0] == "place"  # a pipe or a device
            assert safe or by_descriptor or nowhere or there, f"{path}:{call.lineno}"


def test_what_libraries_start_finds_little_of_the_callers_environment() -> None:
    program = (
        "import json, os, sys\nfrom pvprep import cli\nsys.argv = ['pvprep', 'explain', 'tls']\n"
        "sys.stdout = open(os.devnull, 'w')\ncli.main()\n"
        "print(json.dumps(dict(os.environ)), file=sys.__stdout__)\n"
    )
    given = {"PATH": "/evil", "LD_PRELOAD": "", "APT_CONFIG": "/evil", "https_proxy": "http://p"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**given, "PYTHONPATH": str(AGENT), "TERM": "xterm", "DEBCONF_REDIR": "1"},
    )  # fmt: skip
    left = json.loads(done.stdout)
    assert left.pop("PATH").startswith("/usr/local/sbin:")
    left.pop("LC_CTYPE", "")  # Python's own (PEP 538)
    assert left == {"https_proxy": "http://p", "PYTHONPATH": str(AGENT), "TERM": "xterm"}
