"""The Debian package: what is in it, and its life in bare Debian roots."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import chroot, debs, roots
from tests.roots import deb

from pvprep import __version__, arguments, explain

pytestmark = pytest.mark.roots

_SYSTEM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_WANTED = "etc/systemd/system/multi-user.target.wants/pvprep-boot.service"


def said(*argv: object, **env: str) -> str:
    """What a program of this machine says on stdout and stderr; it has to end well."""
    done = subprocess.run(
        [str(word) for word in argv],
        env={**_SYSTEM, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    return debs.build()


@pytest.fixture(scope="module")
def content(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, unpacked."""
    tree = tmp_path_factory.mktemp("content")
    said("dpkg-deb", "-x", package, tree)
    return tree


def bare(suite: str, directory: Path) -> Path:
    roots.unpack(roots.build_root(suite, "amd64", include=("ca-certificates",)), directory)
    return directory


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bare Debian 12 with the package."""
    root = bare("bookworm", tmp_path_factory.mktemp("installed") / "root")
    deb.install(root, package)
    yield root
    roots.remove(root)


def test_lintian_has_nothing_to_say(package: Path) -> None:
    (changes,) = (debs.TOP / "build/deb").glob("pvprep_*.changes")
    told = said("lintian", "--allow-root", "--pedantic", "--fail-on", "warning,pedantic", changes)
    assert told == ""


def test_versions_agree(package: Path) -> None:
    assert said("dpkg-deb", "-f", package, "Version") == f"{__version__}\n"


def test_it_ships_every_module(content: Path) -> None:
    agent = debs.TOP / "agent"
    files = {path.relative_to(agent) for path in agent.glob("pvprep/**/*") if path.is_file()}
    wanted = {path for path in files if path.suffix != ".pyc"}
    there = content / "usr/lib/python3/dist-packages"
    assert wanted == {path.relative_to(there) for path in there.glob("pvprep/**/*.*")}


def test_the_manual_renders_without_a_warning(content: Path) -> None:
    page = content / "usr/share/man/man8/pvprep.8.gz"
    assert said("mandoc", "-T", "lint", "-W", "warning", page) == ""
    text = said("man", "--warnings", "-l", page, MANWIDTH="100", GROFF_NO_SGR="1")
    assert "warning" not in text.split("\n")[0]
    for title in ("SYNOPSIS", "VERBS", "OPTIONS", "EXIT STATUS", "FILES", "FINDINGS", "EXAMPLES"):
        assert f"\n{title}\n" in text


def test_the_manual_names_all_that_there_is(content: Path) -> None:
    # Wide enough that nothing is wrapped.
    page = content / "usr/share/man/man8/pvprep.8.gz"
    text = said("man", "-l", page, MANWIDTH="1000")
    options = [name for action in arguments.parser()._actions for name in action.option_strings]
    tags = {line.strip().split("  ")[0].split("[")[0] for line in text.split("\n")}
    words = {word.strip(",") for tag in tags for word in tag.split(" ")}
    verbs = [verb for verb in arguments.VERBS if verb != "record-boot"]
    assert {*options, *verbs, *explain.topics()} <= words


@pytest.mark.parametrize(
    "made", [["manual.py"], ["completions.py", "bash"], ["completions.py", "zsh"]]
)
def test_what_is_made_from_the_program_is_the_same_each_time(made: list[str]) -> None:
    script = debs.TOP / "packaging/common" / made[0]

    def run(seed: str) -> str:
        env = {"PYTHONPATH": str(debs.TOP / "agent"), "SOURCE_DATE_EPOCH": "0"}
        return said("/usr/bin/python3", script, *made[1:], PYTHONHASHSEED=seed, **env)

    assert run("1") == run("2")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["r"], ["rollback", "recover", "report"]),
        (["explain", "kernel.pv"], ["kernel.pvhvm-only", "kernel.pv32"]),
        (["check", ""], []),
        (["--type", "="], ["pv", "pvh", "pvshim", "hvm"]),
        (["--type", "=", "pvh"], ["pvh"]),
        (["--type", ""], ["pv", "pvh", "pvshim", "hvm"]),
        (["--emit"], ["--emit-config", "--emit-config="]),
        (["--emit-config", "p"], ["prepare"]),
        (["--emit-config", "=", "a"], ["a file"]),
        (["--kernel-package", ""], ["a file", "place"]),
        (["--root", ""], ["place"]),
        (["--name", ""], []),
    ],
)
def test_bash_completes(
    content: Path, tmp_path: Path, words: list[str], offered: list[str]
) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "place").mkdir()
    script = (
        'compopt() { :; }; . "$1"; cd "$2"; COMP_WORDS=(pvprep "${@:3}"); COMP_CWORD=$(($# - 2)); '
        "_pvprep; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    completion = content / "usr/share/bash-completion/completions/pvprep"
    lines = said("bash", "-ec", script, "bash", completion, tmp_path, *words).splitlines()
    assert sorted(filter(None, lines)) == sorted(offered)


def test_zsh_gets_what_it_shall_complete(content: Path) -> None:
    completion = content / "usr/share/zsh/vendor-completions/_pvprep"
    script = '_arguments() { print -rl -- "$@" }; _describe() { print -rl -- ${(P)2} }; '
    script += "words=(pvprep explain); . $1; _pvprep_verbs; _pvprep_ids"
    told = said("zsh", "-efc", script, "zsh", completion).splitlines()
    assert "--version[show program's version number and exit]" in told
    (types,) = (line for line in told if line.startswith("--type="))
    assert types.startswith("--type=[type of the domain")
    assert types.endswith("]:type:(pv pvh pvshim hvm)")
    assert "--emit-config=-[write the domU config to stdout, or to =FILE]::FILE:_files" in told
    assert {line.split(":")[0] for line in told} >= {"prepare", "rollback", *explain.topics()}


def test_the_unit_fits_into_a_boot(content: Path, tmp_path: Path) -> None:
    text = (content / "lib/systemd/system/pvprep-boot.service").read_text()
    assert "ExecStart=/usr/bin/pvprep record-boot\n" in text
    unit = tmp_path / "pvprep-boot.service"
    unit.write_text(text.replace("/usr/bin/pvprep record-boot", "/bin/true"))
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    verify = ["systemd-analyze", "--man=no", "verify", "multi-user.target", unit]
    complaints = said(*verify, SYSTEMD_UNIT_PATH=f"{tmp_path}:")
    assert "pvprep" not in complaints
    assert "cycle" not in complaints


def test_commands_in_a_bare_root(installed: Path) -> None:
    assert chroot.run(installed, ["pvprep", "--version"]) == f"pvprep {__version__}\n"
    assert chroot.run(installed, ["pvprep", "--help"]).startswith("usage: pvprep ")
    assert chroot.run(installed, ["pvprep", "explain", "kernel"]).startswith("kernel\n\n")


def test_check_in_a_bare_root_says_what_is_missing(installed: Path) -> None:
    with pytest.raises(chroot.ChrootError, match=r"status 1\n") as refusal:
        chroot.run(installed, ["pvprep", "check"])
    assert "Traceback" not in str(refusal.value)
    assert "initrd" in str(refusal.value)


def test_the_unit_is_enabled(installed: Path) -> None:
    assert os.readlink(installed / _WANTED) == "/lib/systemd/system/pvprep-boot.service"


def test_removal_keeps_the_journal_and_purge_takes_the_rest(installed: Path) -> None:
    kept, log = installed / "var/lib/pvprep/boots", installed / "var/log/pvprep/a.log"
    for file in (kept, log):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    chroot.run(installed, ["apt-get", "-q", "-y", "remove", "pvprep"])
    assert kept.exists()
    assert log.exists()
    told = chroot.run(installed, ["apt-get", "-q", "-y", "purge", "pvprep"])
    assert "/var/lib/pvprep stays" in told
    assert list(installed.rglob("*pvprep*")) == [kept.parent]
    assert [path.name for path in kept.parent.iterdir()] == ["boots"]


@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_it_installs_on_other_releases(suite: str, package: Path, tmp_path: Path) -> None:
    root = bare(suite, tmp_path / "root")
    deb.install(root, package)
    assert chroot.run(root, ["pvprep", "--version"]) == f"pvprep {__version__}\n"
    assert chroot.run(root, ["pvprep", "explain", "kernel"]).startswith("kernel\n\n")
    assert (root / _WANTED).is_symlink()
    roots.remove(root)


def test_it_runs_from_a_checkout() -> None:
    env = {"PYTHONPATH": str(debs.TOP / "agent")}
    assert said("/usr/bin/python3", "-m", "pvprep", "--version", **env) == f"pvprep {__version__}\n"


def test_pip_installs_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(debs.TOP / "agent", source / "agent")
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(debs.TOP / name, source)
    venv = tmp_path / "venv"
    said("/usr/bin/python3", "-m", "venv", "--system-site-packages", venv)
    local = ["--no-index", "--no-deps", "--no-build-isolation"]
    said(venv / "bin/pip", "install", *local, source)
    assert said(venv / "bin/pvprep", "--version") == f"pvprep {__version__}\n"
    assert "xl.cfg.j2" in [path.name for path in venv.rglob("domu/templates/*")]
