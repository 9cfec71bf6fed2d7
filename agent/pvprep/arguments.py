"""The command line: what may be given, what goes together, and the options that come of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from . import __version__
from .errors import PvprepError, UsageError
from .options import Options

VERBS = {
    "prepare": "convert this system (the default): plan, show, apply, verify",
    "check": "read only: would it boot PV, and what stands in the way?",
    "status": "what pvprep did here, and which PV boots came up",
    "explain": "what a finding's ID, or a step, means and what to do; without ID: list them",
    "config": "write the domU config of a prepared system to stdout",
    "rollback": "undo everything that pvprep did, exactly, and prove it",
    "recover": "bring a run that was killed to an end: finish it or put everything back",
    "detach": "take away what a killed run with --image left attached to this machine",
    "report": "write what a bug report needs, without secrets, to --output or stdout (.tar.gz)",
    "record-boot": argparse.SUPPRESS,
}
# Verbs that work on no guest, and those of the others that never write to one.
WITHOUT_GUEST = ("explain", "detach")
READ_ONLY = ("check", "status", "config", "report")


class _Parser(argparse.ArgumentParser):
    """argparse's, which would exit by itself, past --json."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see pvprep --help")


def parser() -> argparse.ArgumentParser:
    """The command line; the manual and the shell completions are made from it too."""
    made = _Parser(
        prog="pvprep",
        description="Prepare a Linux guest that Xen runs fully virtualised (HVM) to boot "
        "paravirtualised (PV or PVH). It says what it will do before it does it; what it did can "
        "be undone exactly.",
        epilog="Exit status: 0 done, nothing to do, or ready; 1 cannot be converted or is not "
        "ready; 2 wrong usage; 3 failed, and everything was put back; 4 stopped half way: run "
        "`pvprep recover`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shown = [f"{verb}: {text}" for verb, text in VERBS.items() if text != argparse.SUPPRESS]
    made.add_argument(
        "verb", nargs="?", default="prepare", choices=[*VERBS], metavar="VERB",
        help="; ".join(shown).replace("%", "%%"),
    )  # fmt: skip
    made.add_argument("id", nargs="?", metavar="ID", help="what to explain")
    made.add_argument("--version", action="version", version=f"pvprep {__version__}")
    made.add_argument(
        "--emit-config", metavar="FILE", help="write the domU config to stdout, or to =FILE"
    )
    made.add_argument(
        "--dry-run", action="store_true",
        help="change nothing; show every change as a diff or a command",
    )  # fmt: skip
    made.add_argument(
        "--output", metavar="FILE", default="",
        help="with report: the file to write, which only its owner can read",
    )  # fmt: skip
    made.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    made.add_argument(
        "--root", metavar="DIR", default="/", help="work on the guest mounted at DIR, by chroot"
    )
    _add_image(made.add_argument_group("a guest that is off"))
    made.add_argument(
        "--verify", action="store_true",
        help="with rollback: read everything back once more and list each path",
    )  # fmt: skip
    _add_guest(made.add_argument_group("what the guest shall become"))
    _add_config(made.add_argument_group("the domU config"))
    return made


def _add_image(group: Any) -> None:
    group.add_argument(
        "--image", action="append", default=[], metavar="DISK",
        help="work on the guest on this file or device (once per disk, the one it boots from "
        "first); its code is not run unless --initrd rebuild asks for it",
    )  # fmt: skip
    group.add_argument(
        "--attach", choices=("auto", "loop", "kpartx", "guestfs"), default="",
        help="how: by this machine's loop devices, by kpartx, or in libguestfs' own machine, the "
        "choice for images of strangers (default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--key-file", metavar="FILE", default="", help="the key of an encrypted (LUKS) disk"
    )
    group.add_argument(
        "--backup-to", metavar="HOW[:FILE]", default="",
        help="a way back besides rollback: qcow2-overlay (a new file takes all changes: the "
        "default for qcow2), copy (made first) or none",
    )  # fmt: skip


def _add_guest(group: Any) -> None:
    group.add_argument(
        "--device-names", choices=("auto", "xvd", "hd", "uuid"), default="auto",
        help="names in fstab and friends: xvd (hd for XenLinux kernels), or UUID=",
    )  # fmt: skip
    group.add_argument(
        "--kernel-package", action="append", default=[], metavar="FILE",
        help="install the kernel from this package file",
    )  # fmt: skip
    group.add_argument(
        "--kernel-from", metavar="PLACE", default="",
        help="put a kernel and its modules in from outside: a directory, an rpm, a deb, or `host`",
    )  # fmt: skip
    group.add_argument(
        "--initrd", choices=("rebuild", "append"), default="",
        help="rebuild it with the guest's own tools, or append the drivers to it, which runs no "
        "code of the guest (default: append with --image, else rebuild); with `rollback --image`, "
        "rebuild lets the guest's package manager remove what was installed",
    )  # fmt: skip
    group.add_argument(
        "--type", choices=("pv", "pvh", "pvshim", "hvm"), default="pv",
        help="type of the domain: pvshim runs PV inside PVH, for hosts without PV; hvm is the way "
        "back",
    )  # fmt: skip
    group.add_argument(
        "--bootloader", choices=("pygrub", "pvgrub", "direct"), default="pygrub",
        help="who finds the kernel: pygrub in dom0, GRUB in the domain, or nobody (copied to dom0)",
    )  # fmt: skip


def _add_config(group: Any) -> None:
    group.add_argument(
        "--format", choices=("xl", "xm", "libvirt", "xe", "json"), default="xl",
        help="who reads it: xl, xm (Xen before 4.5), libvirt, xe (XenServer, XCP-ng), or a program",
    )  # fmt: skip
    group.add_argument(
        "--xen", metavar="RELEASE", default="",
        help="dom0's Xen, 4.17 for example: write what it knows (default: what all in use do)",
    )  # fmt: skip
    group.add_argument(
        "--to-xenstore", action="store_true",
        help="leave it in xenstore, for pvprep-dom0 fetch, instead of writing it to stdout",
    )  # fmt: skip
    group.add_argument("--name", default="", help="name of the domain (default: the host name)")
    group.add_argument("--bridge", default="", help="bridge in dom0 (default: dom0's own)")
    group.add_argument("--memory", type=int, metavar="MIB", help="memory in MiB (default: as now)")
    group.add_argument("--maxmem", type=int, metavar="MIB", help="most memory in MiB")
    group.add_argument("--vcpus", type=int, metavar="N", help="virtual CPUs (default: as now)")
    group.add_argument(
        "--disk-backend", action="append", default=[], metavar="[DISK=]TARGET",
        help="a disk's device or file in dom0; DISK is xvda (the default), xvdb, sda ...",
    )  # fmt: skip
    group.add_argument(
        "--mac", action="append", default=[], metavar="MAC",
        help="MAC of an interface, for a tree that cannot be asked (once per interface)",
    )  # fmt: skip


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What was given. Raises UsageError where that does not go together."""
    args = parser().parse_args(words)
    _check_usage(args)
    return args


def guestfs_runs_nothing() -> UsageError:
    """Why libguestfs and the guest's own tools do not go together."""
    return UsageError(
        "--initrd rebuild runs the guest's programs, which --attach guestfs (the choice for images "
        "of others) never does",
        "leave --initrd out: the drivers are appended; or, where you trust it, --attach loop",
    )


def _check_usage(args: argparse.Namespace) -> None:
    if args.id and args.verb != "explain":
        raise UsageError(f"`{args.verb}` takes no {args.id!r}", "see pvprep --help")
    if args.verify and args.verb != "rollback":
        raise UsageError("--verify belongs to `pvprep rollback`")
    if args.output and args.verb != "report":
        raise UsageError("--output belongs to `pvprep report`")
    if args.verb == "report" and args.json:
        raise UsageError("--json does not go with `report`", "what it writes has JSON in it")
    if args.emit_config == "":
        raise UsageError("--emit-config= wants a file", "without `=` the config goes to stdout")
    if args.emit_config and args.verb not in ("prepare", "config"):
        raise UsageError(f"--emit-config does not go with `{args.verb}`")
    if args.to_xenstore and (args.verb not in ("prepare", "config") or args.dry_run):
        raise UsageError("--to-xenstore goes with `prepare` and `config`, without --dry-run")
    _check_xe(args)
    if args.dry_run and args.verb not in ("prepare", "rollback"):
        raise UsageError(f"--dry-run does not go with `{args.verb}`")
    if not os.path.isdir(args.root):
        raise UsageError(f"--root {args.root}: no such directory", "give a mounted guest's root")
    if args.emit_config not in (None, "-"):
        from . import delivery

        delivery.check(args.emit_config)
    if args.output:
        from . import delivery

        delivery.check(args.output, "--output")
    _check_image(args)
    if args.kernel_package and _initrd(args) == "append":
        raise UsageError(
            "--kernel-package has the guest's package manager install it, and with --initrd append "
            "(the default with --image) none of its programs runs",
            "--kernel-from FILE puts it in without them; or --initrd rebuild, if you trust it",
        )


def _initrd(args: argparse.Namespace) -> str:
    return str(args.initrd) or ("append" if args.image else "rebuild")


def _check_xe(args: argparse.Namespace) -> None:
    """Its commands change how the VM boots and nothing else of it."""
    names = ("bridge", "memory", "maxmem", "vcpus", "disk_backend", "mac")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if args.format == "xe" and given:
        raise UsageError(
            f"--format xe leaves the VM what it has: it does not go with {given[0]}",
            "change that with xe, or in XenCenter or Xen Orchestra",
        )


def _check_image(args: argparse.Namespace) -> None:
    if not args.image:
        given = [word for word in ("attach", "backup_to", "key_file") if getattr(args, word)]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} goes with --image")
        return
    if args.root != "/":
        raise UsageError("--root and --image are two ways to name a guest: give one of them")
    if args.verb in (*WITHOUT_GUEST, "record-boot"):
        raise UsageError(f"--image does not go with `{args.verb}`")
    if args.to_xenstore:
        raise UsageError("--to-xenstore is for a guest that runs, --image for one that does not")
    if args.attach == "guestfs" and args.initrd == "rebuild":
        raise guestfs_runs_nothing()
    if args.backup_to and (args.verb != "prepare" or args.dry_run):
        raise UsageError("--backup-to goes with `prepare`, without --dry-run")
    for path in args.image:
        _check_target(os.path.abspath(path))
        if not os.path.exists(path) or os.path.isdir(path):
            raise UsageError(
                f"--image {path}: no such file or device", "a tree goes with --root DIR"
            )


def options(args: argparse.Namespace) -> Options:
    """The choices that steer plan and config. Raises UsageError for what no domain can have."""
    from .domu.releases import release

    backends = {}
    for text in args.disk_backend:
        disk, separator, target = text.partition("=")
        if not separator or "/" in disk:
            disk, target = "xvda", text
        if disk in backends:
            raise UsageError(f"--disk-backend names {disk} twice")
        backends[disk] = target
    for path in args.kernel_package:
        if not os.path.isfile(path):
            raise UsageError(f"--kernel-package {path}: no such file")
    place = args.kernel_from
    if place and args.kernel_package:
        raise UsageError("--kernel-from and --kernel-package are two sources of one kernel")
    if place not in ("", "host") and not os.path.exists(place):
        raise UsageError(f"--kernel-from {place}: no such directory or package")
    made = Options(
        device_names=args.device_names,
        kernel_packages=tuple(os.path.abspath(path) for path in args.kernel_package),
        kernel_from=place if place in ("", "host") else os.path.abspath(place),
        # Of an image no code is run unless it is asked for.
        initrd=_initrd(args),
        type=args.type,
        form=args.format,
        xen=release(args.xen) if args.xen else None,
        bootloader=args.bootloader,
        name=args.name,
        bridge=args.bridge,
        memory_mib=args.memory,
        maxmem_mib=args.maxmem,
        vcpus=args.vcpus,
        disk_backends=backends,
        macs=tuple(mac.lower() for mac in args.mac),
    )
    _check_values(made)
    return made


def _check_values(options: Options) -> None:
    """What no domain can have is refused before a guest is changed for it."""
    from .domu import releases
    from .domu.model import Boot, DomU, Vbd, Vif

    shim = options.type == "pvshim"
    try:
        domu = DomU(
            options.name or "guest",
            type="pvh" if shim else options.type,
            pvshim=shim,
            boot=Boot("firmware" if options.type == "hvm" else options.bootloader),
            memory_mib=options.memory_mib,
            maxmem_mib=options.maxmem_mib,
            vcpus=options.vcpus,
            vifs=tuple(Vif(mac) for mac in options.macs),
            disks=(Vbd("xvda"),),
        )
        releases.check(domu, options.form, options.xen)
        Vif("00:16:3e:00:00:01", options.bridge)
    except PvprepError as error:
        raise UsageError(error.message, error.hint) from None
    for target in options.disk_backends.values():
        _check_target(target)


def _check_target(target: str) -> None:
    from .domu.model import Vbd

    try:
        Vbd("xvda", target)
    except PvprepError as error:
        raise UsageError(error.message, error.hint) from None


