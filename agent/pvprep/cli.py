"""The command: verbs, options, exit statuses; nothing else.

Data (a config, JSON, the texts of status and explain) goes to stdout, all else to stderr. With any
status but 0 stdout stays empty, except for --json, which always gives one document.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from . import __version__
from .errors import Exit, PvprepError, UsageError

if TYPE_CHECKING:
    from .guest import Guest
    from .options import Options
    from .plan import Plan
    from .report import Screen

VERBS = {
    "prepare": "convert this system (the default): plan, show, apply, verify",
    "check": "read only: would it boot PV, and what stands in the way?",
    "status": "what pvprep did here, and which PV boots came up",
    "explain": "what a finding's ID, or a step, means and what to do; without ID: list them",
    "config": "write the domU config of a prepared system to stdout",
    "rollback": "undo everything that pvprep did, exactly, and prove it",
    "recover": "bring a run that was killed to an end: finish it or put everything back",
    "record-boot": argparse.SUPPRESS,
}


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
    made.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    made.add_argument(
        "--root", metavar="DIR", default="/", help="work on the guest mounted at DIR, by chroot"
    )
    made.add_argument(
        "--verify", action="store_true",
        help="with rollback: read everything back once more and list each path",
    )  # fmt: skip
    _add_guest(made.add_argument_group("what the guest shall become"))
    _add_config(made.add_argument_group("the domU config"))
    return made


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


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; no traceback reaches a user."""
    words = list(sys.argv[1:] if argv is None else argv)
    # FILE comes after `=` only, or a verb that follows would be taken for it.
    words = ["--emit-config=-" if word == "--emit-config" else word for word in words]
    try:
        return int(_main(words))
    except PvprepError as error:
        _complain(error.message, error.hint)
        if "--json" in words:
            _print_error(error)
        return int(error.status)


def _main(words: Sequence[str]) -> Exit:
    """Every way to fail as a PvprepError."""
    try:
        args = parser().parse_args(words)
        _check_usage(args)
        return _run(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads; the interpreter must not care
        return Exit.DONE
    except KeyboardInterrupt:
        raise PvprepError("interrupted", "nothing had been changed yet", Exit.NOT_READY) from None
    except ImportError as error:
        hint = (
            "Debian: apt-get install python3-apt python3-distro python3-jinja2; Fedora, RHEL: "
            "dnf install python3-distro python3-jinja2; SUSE: zypper install python3-distro "
            "python3-Jinja2; and run it with /usr/bin/python3"
        )
        raise PvprepError(str(error), hint, Exit.NOT_READY) from error
    except OSError as error:
        message = f"{error.filename or 'system'}: {error.strerror or error}"
        raise PvprepError(message, status=Exit.NOT_READY) from error


def _print_error(error: PvprepError) -> None:
    from .schema import failure

    print(failure(error))


def _check_usage(args: argparse.Namespace) -> None:
    if args.id and args.verb != "explain":
        raise UsageError(f"`{args.verb}` takes no {args.id!r}", "see pvprep --help")
    if args.verify and args.verb != "rollback":
        raise UsageError("--verify belongs to `pvprep rollback`")
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


def _check_xe(args: argparse.Namespace) -> None:
    """Its commands change how the VM boots and nothing else of it."""
    names = ("bridge", "memory", "maxmem", "vcpus", "disk_backend", "mac")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if args.format == "xe" and given:
        raise UsageError(
            f"--format xe leaves the VM what it has: it does not go with {given[0]}",
            "change that with xe, or in XenCenter or Xen Orchestra",
        )


def _run(args: argparse.Namespace) -> Exit:
    """Imports are here so that --version and --help cost nothing."""
    if args.verb == "explain":
        from .explain import explain

        text = explain(args.id or "")
        if args.json:
            from .schema import dumps

            text = dumps({"version": 1, "id": args.id, "text": text})
        print(text)
        return Exit.DONE
    from .guest import Guest

    guest = Guest(args.root)
    if args.verb in ("rollback", "recover", "status", "record-boot"):
        from . import history

        return history.run(args.verb, guest, args.verify, args.dry_run, args.json)
    return _convert(args, guest)


def _convert(args: argparse.Namespace, guest: Guest) -> Exit:
    from . import converge, handover
    from .journal import Journal
    from .report import Screen, diffs

    options = _options(args)
    if args.to_xenstore:
        handover.check(guest)
    screen = Screen()
    if args.verb == "prepare" and not args.dry_run:
        screen.start_log(args.verb)
        plan = converge.prepare(guest, options, screen)
    else:
        converge.refuse_pending(Journal(guest))
        plan = converge.look(guest, options)
        if not _way_back(args):
            screen.plan(plan)
    if args.dry_run:
        for text in diffs(plan):
            screen.say(text)
    return _finish(args, guest, plan, screen)


def _way_back(args: argparse.Namespace) -> bool:
    """Whether only the configuration of the HVM domain is asked for: it needs no preparation."""
    return bool(args.verb == "config" and args.type == "hvm")


def _finish(args: argparse.Namespace, guest: Guest, plan: Plan, screen: Screen) -> Exit:
    """The last lines, the config, the JSON, the exit status."""
    promised = args.dry_run and not plan.errors
    ready = plan.ready or promised
    back = _way_back(args)
    wanted = args.emit_config or args.verb == "config" or args.json or args.to_xenstore
    config = _config(plan) if wanted and (ready or back) else ""
    if not back:
        if plan.ready:
            screen.verified(plan)
        screen.ending(plan, args.verb, args.dry_run)
    if config:
        _deliver(args, guest, config, screen)
    if args.json:
        from .schema import document

        print(document(plan, ready, config))
    return Exit.DONE if ready or back else Exit.NOT_READY


def _config(plan: Plan) -> str:
    from .domu.build import from_context
    from .domu.emit import emit
    from .pygrub import Pick

    options = plan.context.options
    pick = plan.pick if isinstance(plan.pick, Pick) else None
    try:
        return emit(from_context(plan.context, pick), options.form, options.xen)
    except PvprepError as error:
        raise PvprepError(
            f"no config can be made: {error.message}", error.hint, Exit.NOT_READY
        ) from None


def _deliver(args: argparse.Namespace, guest: Guest, config: str, screen: Screen) -> None:
    from . import delivery, handover
    from .draft import encode

    data = encode(config)
    place = args.emit_config or ("-" if args.verb == "config" and not args.to_xenstore else "")
    if place and not (args.json and place == "-"):
        delivery.deliver(data, place)
    if args.to_xenstore:
        handover.leave_config(guest, data, args.format)
        screen.say("The config lies in xenstore: in dom0, `pvprep-dom0 fetch` this domain.")


def _options(args: argparse.Namespace) -> Options:
    from .domu.releases import release
    from .options import Options

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
    options = Options(
        device_names=args.device_names,
        kernel_packages=tuple(os.path.abspath(path) for path in args.kernel_package),
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
    _check_values(options)
    return options


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
        for target in options.disk_backends.values():
            Vbd("xvda", target)
    except PvprepError as error:
        raise UsageError(error.message, error.hint) from None


def _complain(message: str, hint: str) -> None:
    if sys.stderr is None:
        return  # closed; print() would take stdout instead
    from .report import printable

    for line in f"pvprep: {message}".split("\n") + ([f"  do: {hint}"] if hint else []):
        print(printable(line), file=sys.stderr)
