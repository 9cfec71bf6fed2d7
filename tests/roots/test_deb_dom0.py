"""The Debian package for dom0: what is in it, and that it needs nothing but Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.guests import chroot, debs, roots
from tests.roots import deb
from tests.roots.test_deb import bare, said

from pvprep_dom0 import __version__, cli, policy
from pvprep_dom0.findings import TOPICS

pytestmark = pytest.mark.roots

_EVIL = 'name = "bifit"\nmemory = 512\nbootloader = "/tmp/evil"\n'


@pytest.fixture(scope="module")
def package() -> Path:
    """lintian sees it together with the guest's (test_deb.py)."""
    return debs.build().with_name(f"pvprep-dom0_{__version__}_all.deb")


@pytest.fixture(scope="module")
def content(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("content")
    said("dpkg-deb", "-x", package, tree)
    return tree


def test_it_ships_every_module_and_none_of_the_agents(content: Path) -> None:
    agent, there = debs.TOP / "agent", content / "usr/lib/python3/dist-packages"
    wanted = {path.relative_to(agent) for path in agent.glob("pvprep_dom0/*.*")}
    assert {path.relative_to(there) for path in there.rglob("*.*") if path.is_file()} == wanted
    assert [path.name for path in (content / "usr/bin").iterdir()] == ["pvprep-dom0"]


def test_the_manual_names_all_that_there_is(content: Path) -> None:
    page = content / "usr/share/man/man8/pvprep-dom0.8.gz"
    assert said("mandoc", "-T", "lint", "-W", "warning", page) == ""
    text = said("man", "--warnings", "-l", page, MANWIDTH="1000", GROFF_NO_SGR="1")
    assert "warning" not in text.split("\n")[0]
    tags = {line.strip().split("  ")[0].split("[")[0] for line in text.split("\n")}
    words = {word.strip(",") for tag in tags for word in tag.split(" ")}
    options = [name for action in cli.parser()._actions for name in action.option_strings]
    assert {*options, *cli.VERBS, *TOPICS, *policy.MEANINGS} <= words


def test_the_policy_is_a_conffile_that_can_be_read(content: Path, package: Path) -> None:
    assert policy.load(f"{content}{policy.PLACE}") == policy.Policy()
    assert said("dpkg-deb", "-I", package, "conffiles") == f"{policy.PLACE}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["trial"]),
        (["explain", "disk.s"], ["disk.script", "disk.syntax"]),
        (["check", ""], ["a file"]),
        (["check", "a file", "--hvm", ""], ["a file"]),
        (["fetch", ""], []),
        (["--fi"], ["--fix", "--fix="]),
        (["check", "--fix", "=", ""], ["a file"]),
    ],
)
def test_bash_completes(
    content: Path, tmp_path: Path, words: list[str], offered: list[str]
) -> None:
    (tmp_path / "a file").touch()
    script = (
        'compopt() { :; }; . "$1"; cd "$2"; COMP_WORDS=(x "${@:3}"); COMP_CWORD=$(($# - 2)); '
        "_pvprep_dom0; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    completion = content / "usr/share/bash-completion/completions/pvprep-dom0"
    lines = said("bash", "-ec", script, "bash", completion, tmp_path, *words).splitlines()
    assert sorted(filter(None, lines)) == sorted(offered)


def test_zsh_gets_what_it_shall_complete(content: Path) -> None:
    completion = content / "usr/share/zsh/vendor-completions/_pvprep-dom0"
    script = '_arguments() { print -rl -- "$@" }; _describe() { print -rl -- ${(P)2} }; '
    script += "_files() { print files }; words=(pvprep-dom0 $2); . $1; _pvprep_dom0_ids"

    def told(verb: str) -> list[str]:
        return said("zsh", "-efc", script, "zsh", completion, verb).splitlines()

    assert "--fix=-[write the safe part to stdout, or to =FILE]::FILE:_files" in told("check")
    assert told("check")[-1] == "files"
    assert {*TOPICS} <= {*told("explain")}
    assert told("fetch")[-1] not in ("files", *TOPICS)


# The oldest Python, and the one that it is made with.
@pytest.mark.parametrize("suite", ["bullseye", "bookworm"])
def test_its_life_in_a_bare_root(suite: str, package: Path, tmp_path: Path) -> None:
    root = bare(suite, tmp_path / "root")
    deb.install(root, package)
    assert chroot.run(root, ["pvprep-dom0", "--version"]) == f"pvprep-dom0 {__version__}\n"
    assert not (root / "usr/bin/pvprep").exists()
    (root / "evil.cfg").write_text(_EVIL)
    with pytest.raises(chroot.ChrootError, match=r"status 1\n") as refusal:
        chroot.run(root, ["pvprep-dom0", "check", "/evil.cfg"])
    assert "Not safe: bootloader.policy" in str(refusal.value)
    with pytest.raises(chroot.ChrootError, match="there is no xl here"):
        chroot.run(root, ["pvprep-dom0", "fetch", "bifit"])
    kept = root / "var/lib/pvprep-dom0/bifit.pv.cfg"
    kept.parent.mkdir()
    kept.touch()
    told = chroot.run(root, ["apt-get", "-q", "-y", "purge", "pvprep-dom0"])
    assert "/var/lib/pvprep-dom0 stays" in told
    assert kept.exists()
    assert not (root / "etc/pvprep-dom0").exists()
    roots.remove(root)
