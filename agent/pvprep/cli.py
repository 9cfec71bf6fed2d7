"""The command: verbs and exit statuses; what may be given is in arguments.

Data (a config, JSON, the texts of status and explain) goes to stdout, all else to stderr. With any
status but 0 stdout stays empty, except for --json, which always gives one document.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Optional

from . import arguments
from .errors import Exit, PartlyPutBackError, PvprepError

# Of the caller's environment: where the network, a terminal and room are. Libraries (libapt and
# libguestfs) hand all that there is to what they start.
_KEPT = re.compile(
    r"(?i)(https?|ftp|all|no)_proxy|TERM|COLUMNS|HOME|TMPDIR|LANG|LC_\w+|PYTHON\w+|LIBGUESTFS_\w+"
)

if TYPE_CHECKING:
    from .guest import Guest
    from .images.backups import Prepared
    from .plan import Plan
    from .report import Screen

def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; no traceback reaches a user."""
    if argv is None:
        _leave_environment()
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


def _leave_environment() -> None:
    """Nothing that is started shall find more of the caller's than it needs."""
    for name in [name for name in os.environ if not _KEPT.fullmatch(name)]:
        del os.environ[name]
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _main(words: Sequence[str]) -> Exit:
    """Every way to fail as a PvprepError."""
    try:
        return _run(arguments.parse(words))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads; the interpreter must not care
        return Exit.DONE
    except KeyboardInterrupt as error:
        hint = "nothing had been changed yet"
        raise PvprepError(str(error) or "interrupted", hint, Exit.NOT_READY) from None
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
    if args.verb == "detach":
        from . import images
        from .report import Screen

        images.detach(Screen().say)
        return Exit.DONE
    prepared = False
    try:
        with _backup(args) as way_back, _guest(args, way_back) as guest:
            if args.verb == "report":
                from . import bundle

                return bundle.report_to(guest, arguments.options(args), args.output)
            if args.verb in ("rollback", "recover", "status", "record-boot"):
                from . import history

                trusted = args.initrd == "rebuild"
                return history.run(
                    args.verb, guest, args.verify, args.dry_run, args.json, trusted
                )
            plan, screen = _convert(args, guest)
            prepared = args.verb == "prepare" and plan.ready
            if way_back and plan.errors:
                way_back.discard()
            elif way_back:
                way_back.keep()
        # After the disks were given back: what goes wrong there must not follow a config.
        return _finish(args, guest, plan, screen)
    except KeyboardInterrupt as error:
        if not prepared:
            raise
        hint = "the guest is prepared; `pvprep config` writes the config"
        raise PvprepError(str(error) or "interrupted", hint, Exit.NOT_READY) from None


@contextmanager
def _backup(args: argparse.Namespace) -> Iterator[Optional[Prepared]]:
    """The disks of --image to work on: those given, or what is made so that these stay as they are.

    What was made goes again where the run ends without having converted anything.
    """
    if not args.image:
        yield None
        return
    from .images.backups import Prepared, Target, prepare_backup
    from .report import Screen

    disks = tuple(map(os.path.abspath, args.image))
    if args.verb != "prepare" or args.dry_run:
        yield Prepared(tuple(Target(disk, "") for disk in disks))
        return
    made = prepare_backup(disks, args.backup_to, Screen().say)
    try:
        yield made
    except PartlyPutBackError:
        raise
    except BaseException as error:
        if getattr(error, "status", None) is not Exit.HALF_WAY:
            made.discard()
        raise


@contextmanager
def _guest(args: argparse.Namespace, way_back: Optional[Prepared]) -> Iterator[Guest]:
    """The system itself, a tree, or a guest on disks that are attached for as long as it takes."""
    from .guest import Guest

    if way_back is None:
        with closing(Guest(args.root)) as guest:
            yield guest
        return
    from . import images
    from .report import Screen

    disks = tuple(target.path for target in way_back.disks)
    how = images.way(disks, args.attach or "auto", Screen().say)
    if how == "guestfs" and args.initrd == "rebuild":
        raise arguments.guestfs_runs_nothing()
    request = images.Request(
        disks,
        how,
        read_only=args.verb in arguments.READ_ONLY or args.dry_run,
        key_file=args.key_file,
    )
    with images.attached(request, Screen().say) as guest:
        yield guest


def _convert(args: argparse.Namespace, guest: Guest) -> tuple[Plan, Screen]:
    from . import converge, handover
    from .journal import Journal
    from .report import Screen, diffs

    options = arguments.options(args)
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
    return plan, screen


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


def _complain(message: str, hint: str) -> None:
    if sys.stderr is None:
        return  # closed; print() would take stdout instead
    from .redact import text
    from .report import printable

    for line in text(f"pvprep: {message}").split("\n") + ([f"  do: {text(hint)}"] if hint else []):
        print(printable(line), file=sys.stderr)
