"""A corpus of what the owner of a guest may plant in it, a function for each; `out` is outside.

The words that have to be said stand in the decorator; none where the guest is converted all the
same, as what was planted is inside or does not matter.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.building import VERSION

KERNEL, INITRD = f"boot/vmlinuz-{VERSION}", f"boot/initrd.img-{VERSION}"
ID = "000001-20250101T000000Z"
STORE = f"var/lib/pvprep/{ID}"
TB = 1 << 40
BOMB = 16 << 20


@dataclass(frozen=True)
class Case:
    name: str
    plant: Callable[[Path, Path], None]
    said: str = ""
    shared: bool = False  # a file of the guest is one of the host's: so it is read


CASES: list[Case] = []
Plant = Callable[[Path, Path], None]


def case(said: str = "") -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        CASES.append(Case(plant.__name__.replace("_", "-"), plant, said))
        return plant

    return add


def several(names: dict[str, Plant], said: str = "", shared: bool = False) -> None:
    for name, plant in names.items():
        CASES.append(Case(name, plant, said, shared))


def away(path: Path) -> Path:
    """Room for something else by this name."""
    if path.is_dir() and not path.is_symlink():
        os.rename(path, path.with_name(f"{path.name}.away"))
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def link(path: str, target: str) -> Plant:
    return lambda root, out: os.symlink(target.format(out=out, root=root), away(root / path))


def fifo(path: str) -> Plant:
    return lambda root, _: os.mkfifo(away(root / path))


def device(path: str, major: int, minor: int) -> Plant:
    import stat

    return lambda root, _: os.mknod(
        away(root / path), 0o600 | stat.S_IFCHR, os.makedev(major, minor)
    )


def sock(path: str) -> Plant:
    def make(root: Path, _: Path) -> None:
        here = os.getcwd()
        os.chdir(away(root / path).parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.basename(path))
        finally:
            os.chdir(here)

    return make


def sparse(path: str, size: int = TB) -> Plant:
    def make(root: Path, _: Path) -> None:
        with open(away(root / path), "wb") as file:
            file.truncate(size)

    return make


def hard(path: str, victim: str) -> Plant:
    return lambda root, out: os.link(out / victim, away(root / path))


# Links that point out of the guest: beneath its root there is nothing by that name.
several({
    "fstab-links-to-the-hosts-shadow": link("etc/fstab", "{out}/shadow"),
    "fstab-climbs-to-the-hosts-shadow": link("etc/fstab", "../../outside/shadow"),
    "fstab-climbs-far": link("etc/fstab", "../" * 30 + "{out}/shadow"),
    "fstab-by-the-root-of-a-process": link("etc/fstab", "/proc/self/root/{out}/shadow"),
    "fstab-by-the-cwd-of-a-process": link("etc/fstab", "/proc/self/cwd/shadow"),
    "fstab-by-the-root-of-process-1": link("etc/fstab", "/proc/1/root{out}/etc/fstab"),
    "inittab-links-out": link("etc/inittab", "{out}/shadow"),
    "default-grub-links-out": link("etc/default/grub", "{out}/etc/default/grub"),
    "default-links-out": link("etc/default", "{out}/etc/default"),
    "modules-link-out": link("etc/initramfs-tools/modules", "{out}/etc/passwd"),
    "hostname-links-out": link("etc/hostname", "../../../../../../../{out}/shadow"),
    "sources-link-out": link("etc/apt/sources.list", "{out}/shadow"),
    "udev-rules-link-out": link("etc/udev/rules.d", "{out}/etc"),
    "journal-links-out-where-nothing-is": link("var/lib/pvprep/boots", "{out}/shadow"),
    "dpkg-lock-links-out": link("var/lib/dpkg/lock", "{out}/lib/dpkg/lock"),
    "modules-dep-links-out": link(f"lib/modules/{VERSION}/modules.builtin", "{out}/shadow"),
})  # fmt: skip
several({"os-release-links-out": link("etc/os-release", "{out}/etc/os-release"),
         "etc-links-out": link("etc", "{out}/etc"),
         "etc-climbs-out": link("etc", "../../../outside/etc")}, "unknown system")  # fmt: skip
several({"boot-links-out": link("boot", "{out}/boot"),
         "boot-climbs-out": link("boot", "../outside/boot"),
         "kernel-links-out": link(KERNEL, "{out}/" + KERNEL)}, "kernel")  # fmt: skip
several({"grub-cfg-links-out": link("boot/grub/grub.cfg", "{out}/boot/grub/grub.cfg"),
         "grub-links-out": link("boot/grub", "{out}/boot/grub")})  # fmt: skip
several({"dpkg-status-links-out": link("var/lib/dpkg/status", "{out}/lib/dpkg/status"),
         "var-lib-links-out": link("var/lib", "{out}/lib"),
         "var-links-out": link("var", "{out}")}, "status is missing")  # fmt: skip
several({"fstab-links-to-itself": link("etc/fstab", "fstab"),
         "fstab-loops-by-a-directory": link("etc/fstab", "../etc/./fstab")})  # fmt: skip
several({"etc-links-to-itself": link("etc", "etc"), "boot-links-to-itself": link("boot", "/boot"),
         "var-lib-links-to-itself": link("var/lib", "lib")}, "too many symlinks")  # fmt: skip

# Not files.
several({
    "fstab-is-a-fifo": fifo("etc/fstab"),
    "fstab-is-a-socket": sock("etc/fstab"),
    "fstab-is-the-null-device": device("etc/fstab", 1, 3),
    "fstab-is-the-zero-device": device("etc/fstab", 1, 5),
    "inittab-is-a-terminal": device("etc/inittab", 5, 0),
    "hostname-is-a-watchdog": device("etc/hostname", 10, 130),
    "dpkg-lock-is-a-fifo": fifo("var/lib/dpkg/lock"),
    "modules-builtin-is-a-fifo": fifo(f"lib/modules/{VERSION}/modules.builtin"),
    "boot-config-is-a-fifo": fifo(f"boot/config-{VERSION}"),
})  # fmt: skip
several({"os-release-is-a-fifo": fifo("etc/os-release"),
         "os-release-is-a-device": device("etc/os-release", 1, 5)}, "unknown system")  # fmt: skip
several({"kernel-is-a-fifo": fifo(KERNEL), "kernel-is-a-device": device(KERNEL, 1, 5),
         "kernel-is-a-socket": sock(KERNEL)}, "kernel")  # fmt: skip
several({"dpkg-status-is-a-fifo": fifo("var/lib/dpkg/status")}, "status is missing")
several({"grub-cfg-is-a-fifo": fifo("boot/grub/grub.cfg")})

# Too much of it.
several({f"{path.split('/')[-1]}-of-a-terabyte": sparse(path) for path in
         ("etc/fstab", "etc/os-release", "etc/default/grub", "var/lib/dpkg/status",
          f"lib/modules/{VERSION}/modules.builtin", f"lib/modules/{VERSION}/modules.dep",
          "boot/grub/grub.cfg", f"boot/config-{VERSION}")}, "large")  # fmt: skip
several({"kernel-of-a-terabyte": sparse(KERNEL)}, "kernel.")
several({"initrd-of-a-terabyte": sparse(INITRD)}, "no initrd is that large")


@case("initrd.")
def an_initrd_that_is_a_bomb(root: Path, _: Path) -> None:
    import zlib

    pack = zlib.compressobj(9, wbits=31)
    zeros, member = bytes(1 << 20), b"070701" + b"00000001" + b"000081a4" + b"00000000" * 3
    member += b"00000000" + b"ffffffff" + b"00000000" * 4 + b"00000002" + b"00000000" + b"a\0"
    with open(away(root / INITRD), "wb") as file:
        file.write(pack.compress(member))
        for _number in range(BOMB >> 20):
            file.write(pack.compress(zeros))
        file.write(pack.flush())


@case("initrd.")
def an_initrd_with_a_name_of_4_gib(root: Path, _: Path) -> None:
    head = b"070701" + b"00000001" + b"000081a4" + b"00000000" * 9 + b"ffffffff" + b"00000000"
    away(root / INITRD).write_bytes(head)


@case("large")
def modules_dep_of_100_mb(root: Path, _: Path) -> None:
    line = b"kernel/a/b/c.ko: kernel/d.ko\n"
    (root / f"lib/modules/{VERSION}/modules.dep").write_bytes(line * (100_000_000 // len(line)))


# Names and texts that steer a terminal or forge a line.
STEER = "\033[2J\033]0;owned\007\r\n  ok       kernel     forged\n\u202e"


@case()
def names_that_steer_the_terminal(root: Path, _: Path) -> None:
    for directory in ("boot", "etc/modprobe.d", "etc/udev/rules.d", "etc/network/interfaces.d"):
        (root / directory).mkdir(parents=True, exist_ok=True)
        name = os.fsencode(f"{STEER}.conf").replace(b"/", b"") + b"\xff.rules"
        with open(os.fsencode(root / directory) + b"/" + name, "w") as file:
            file.write("alias eth0 8139too # /dev/sda1\n")


@case("Debian")
def a_distribution_that_steers_the_terminal(root: Path, _: Path) -> None:
    text = (root / "etc/os-release").read_text()
    steered = text.replace("Debian GNU", f"Debian {STEER} GNU")
    (root / "etc/os-release").write_bytes(steered.encode() + b'VARIANT="\\xff"\n')


@case()
def a_kernel_whose_name_forges_a_line(root: Path, _: Path) -> None:
    place = os.fsencode(root / f"boot/vmlinuz-6.9\n  ok       {STEER[:4]}forged")
    with open(place, "wb") as file:
        file.write(b"\x7fELF")


@case()
def an_fstab_that_steers_the_terminal(root: Path, _: Path) -> None:
    with open(root / "etc/fstab", "ab") as file:
        file.write(b"/dev/sda3 /\033[2J\033[31m\x9b2J\xff ext4 defaults 0 2\n")


# A journal that pvprep has not written.
def record(path: str, **more: Any) -> dict[str, Any]:
    zeros = dict.fromkeys(("mode", "uid", "gid", "atime", "mtime", "inode", "nlink"), 0)
    texts = {"kind": "file", "target": "", "sha256": "0" * 64, "backup": "1", "xattrs": {}}
    return {"path": path, **zeros, **texts, **more}


def lines(*entries: dict[str, Any], end: str = "committed") -> str:
    said: list[dict[str, Any]] = [{"mark": "begin", "summary": {}}]
    for number, entry in enumerate(entries, 1):
        whole = {"number": number, "kind": "WriteFile", "step": "s", "path": "", "to": "",
                 "temp": ".pvprep-t", "why": [], "before": [], "made": [], "parents": [],
                 "installed": {}, **entry}  # fmt: skip
        said.append({"mark": "change", "entry": whole})
        done = {"after": whole["before"], "left": {}, "new": [], "lasting": []}
        said.append({"mark": "done", "number": number, "done": done})
    said += [{"mark": "applied"}, {"mark": end}] if end else []
    return "".join(f"{json.dumps(line)}\n" for line in said)


def journal(text: str, backup: bytes = b"planted") -> Plant:
    def make(root: Path, _: Path) -> None:
        (root / STORE).mkdir(parents=True)
        (root / STORE / "manifest").write_text(text.replace("@OUT@", str(root.parent / "outside")))
        (root / STORE / "1").write_bytes(backup)

    return make


def both(*plants: Plant) -> Plant:
    def make(root: Path, out: Path) -> None:
        for plant in plants:
            plant(root, out)

    return make


def before(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "before": [record(path, **more)]}


UP = "/../../../../../../../../@OUT@/shadow"
several({
    "journal-climbs-out": journal(lines(before(UP))),
    "journal-climbs-out-half-way": journal(lines(before(UP), end="")),
    "journal-is-relative": journal(lines(before("../../etc/passwd"))),
    "journal-removes-outside": journal(lines(before(UP, kind="absent", backup=""), end="")),
    "journal-moves-outside": journal(lines({"path": "/etc/fstab", "to": UP}, end="")),
    "journal-makes-outside": journal(lines({"path": "/x", "made": [UP]}, end="")),
    "journal-dates-outside": journal(
        lines({"path": "/x", "parents": [record(UP, kind="directory")]}, end="")
    ),
}, "pvprep")  # fmt: skip
several({
    "backup-links-out": both(
        journal(lines(before("/etc/fstab"))), link(f"{STORE}/1", "{out}/shadow")
    ),
    "backup-is-a-fifo": both(journal(lines(before("/etc/fstab"))), fifo(f"{STORE}/1")),
    "backup-is-a-device": both(
        journal(lines(before("/etc/fstab"))), device(f"{STORE}/1", 1, 5)
    ),
    "path-of-a-journal-leads-out": both(
        journal(lines(before("/etc/x/shadow"), end="")), link("etc/x", "{out}")
    ),
}, "pvprep")  # fmt: skip
several({
    "manifest-is-a-fifo": both(journal(""), fifo(f"{STORE}/manifest")),
    "manifest-is-a-device": both(journal(""), device(f"{STORE}/manifest", 1, 5)),
    "manifest-links-out": both(journal(""), link(f"{STORE}/manifest", "{out}/lib/pvprep/manifest")),
    "manifest-of-a-terabyte": both(journal(""), sparse(f"{STORE}/manifest")),
}, "manifest")  # fmt: skip
several({
    "manifest-is-deep": journal("[" * 100_000 + "\n"),
    "manifest-with-infinity": journal(
        lines().replace('{"mark": "applied"}', '{"mark": "rolled-back", "order": Infinity}')
    ),
    "manifest-with-a-backup-elsewhere": journal(lines(before("/etc/fstab", backup="../../x"))),
    "manifest-with-a-temporary-elsewhere": journal(
        lines({"path": "/etc/fstab", "temp": ".pvprep-/../../x"})
    ),
}, "is damaged")  # fmt: skip
several({
    "lock-is-a-fifo": both(journal(""), fifo("var/lib/pvprep/lock")),
    "lock-links-out": both(journal(""), link("var/lib/pvprep/lock", "{out}/lib/pvprep/lock")),
    "lock-is-the-hosts-file": both(journal(""), hard("var/lib/pvprep/lock", "lib/pvprep/lock")),
}, "pvprep")  # fmt: skip
several({"journal-directory-links-out": link("var/lib/pvprep", "{out}/lib/pvprep"),
         "journal-directory-is-a-fifo": fifo("var/lib/pvprep"),
         "store-links-out": link(STORE, "{out}/lib/pvprep")})  # fmt: skip
several({"fstab-is-the-hosts-file": hard("etc/fstab", "etc/fstab"),
         "default-grub-is-the-hosts-file": hard("etc/default/grub", "etc/default/grub")},
        shared=True)  # fmt: skip
