"""Small packages and repositories for trees that rpm manages, made by the programs in the tree."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.guests import chroot

_MADE = "/srv/made"
_SPEC = """\
Name: {name}
Version: {version}
Release: {release}
Summary: a package of the tests
License: none
BuildArch: noarch
AutoReqProv: no
{tags}
%description
A package of the tests.
%install
for file in {files}; do install -D -m 644 /dev/null %{{buildroot}}$file; done
%files
{listed}
{scripts}
"""


def package(
    root: Path,
    name: str,
    version: str = "1",
    *,
    release: str = "1",
    files: tuple[str, ...] = (),
    scripts: Mapping[str, str] = {},
    **tags: str,
) -> Path:
    """A package without much in it; scripts: by section (`post`); tags: of the preamble.

    It owns the directories of its name. Gives the file, which lies in the tree below /srv.
    """
    spec = root / _MADE.lstrip("/") / f"{name}.spec"
    spec.parent.mkdir(parents=True, exist_ok=True)
    parents = {Path(file).parent for file in files}
    directories = sorted(str(parent) for parent in parents if parent.name == name)
    text = _SPEC.format(
        name=name,
        version=version,
        release=release,
        tags="\n".join(f"{tag}: {value}" for tag, value in tags.items()),
        files=" ".join(files),
        listed="\n".join([*files, *(f"%dir {one}" for one in directories)]),
        scripts="\n".join(f"%{section}\n{script}" for section, script in scripts.items()),
    )
    spec.write_text(text)
    define = ["--define", f"_topdir {_MADE}", "--define", "__os_install_post %{nil}"]
    chroot.run(root, ["rpmbuild", "-bb", "--quiet", *define, f"{_MADE}/{spec.name}"])
    (made,) = spec.parent.glob(f"RPMS/noarch/{name}-{version}-{release}.noarch.rpm")
    return made


def repository(root: Path, *packages: Path, id: str = "extra", more: str = "gpgcheck=0\n") -> None:
    """Let a repository in the tree offer these packages. more: lines of its section."""
    place = root / f"srv/repos/{id}"
    place.mkdir(parents=True, exist_ok=True)
    for file in packages:
        shutil.copy(file, place)
    shutil.rmtree(place / "repodata", ignore_errors=True)  # createrepo_c fails over a layer's
    chroot.run(root, ["createrepo_c", "-q", f"/srv/repos/{id}"])
    listed = root / "etc/yum.repos.d" / f"{id}.repo"
    listed.write_text(f"[{id}]\nname={id}\nbaseurl=file:///srv/repos/{id}\nenabled=1\n{more}")


def installed(root: Path) -> set[str]:
    """What `rpm -qa` says."""
    return set(chroot.run(root, ["rpm", "-qa"]).split())


def install(root: Path, *files: Path) -> None:
    """Install package files of the tree, by rpm itself."""
    paths = [f"/{file.relative_to(root)}" for file in files]
    chroot.run(root, ["rpm", "-i", *paths])
