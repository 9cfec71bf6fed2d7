"""The command: verbs, options, exit statuses.

Data (a config, JSON, the texts of explain) goes to stdout, all else to stderr. With any status but
0 stdout stays empty, except for --json, which always gives one document.
"""

from __future__ import annotations

import argparse
import os
import signal
import stat
import sys
import time
from collections.abc import Sequence
from typing import NoReturn, Optional

from . import __version__, domains, fix, report, xenstore
from .check import MOST_BYTES, Report, check
from .domains import Domain
from .errors import Dom0Error, Exit, UsageError
from .policy import PLACE, Policy, load, load_default
from .run import Dom0, Host
from .state import HOME, State, Store
from .trial import Stop, Trial

VERBS = {
    "check": "may dom0 start this config, that came out of a guest? FILE is it, or - for stdin",
    "fetch": "take the config that a guest left in xenstore; FILE is its domid or name",
    "trial": "start FILE's domain as PV, and as HVM again where it does not come up",
    "explain": "what a finding means; without its id: list them",
}
# For every verb the options that go with it.
GOES_WITH = {
    "check": ("hvm", "domain", "policy", "fix", "json"),
    "fetch": ("policy", "output", "check", "json"),
    "trial": ("hvm", "policy", "timeout", "force_off", "restore", "evidence", "resume"),
    "explain": (),
}


class _Parser(argparse.ArgumentParser):
    """argparse's, which would exit by itself, past --json."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see pvprep-dom0 --help")


def parser() -> argparse.ArgumentParser:
    """The command line; the manual and the shell completions are made from it too."""
    made = _Parser(
        prog="pvprep-dom0",
        description="In dom0: judge the config that a guest made of itself, fetch it, and try the "
        "guest as PV with a way back.",
        epilog="Exit status: 0 the config is safe, --fix or fetch wrote one, or the domain is up "
        "as PV; 1 the config is not safe, or nothing could be done; 2 wrong usage or policy; 3 the "
        "domain did not come up as PV and is HVM again; 4 stopped half way: run `pvprep-dom0 trial "
        "--resume NAME`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shown = "; ".join(f"{verb}: {text}" for verb, text in VERBS.items())
    made.add_argument("verb", choices=[*VERBS], metavar="VERB", help=shown)
    made.add_argument("what", nargs="?", default="", metavar="FILE", help="see VERB")
    made.add_argument("--version", action="version", version=f"pvprep-dom0 {__version__}")
    made.add_argument(
        "--hvm", metavar="FILE",
        help="the domain's config until now, which dom0 trusts: what the domain has there it may "
        "keep",
    )  # fmt: skip
    made.add_argument(
        "--domain", metavar="DOMAIN",
        help="the running domain, by domid or name, that the config came out of: what it has it "
        "may keep",
    )  # fmt: skip
    made.add_argument("--policy", metavar="FILE", help=f"what this host allows (default: {PLACE})")
    made.add_argument("--fix", metavar="FILE", help="write the safe part to stdout, or to =FILE")
    made.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    _add_fetch(made.add_argument_group("fetch"))
    _add_trial(made.add_argument_group("trial"))
    return made


def _add_fetch(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--output", metavar="FILE", help="write to FILE instead of stdout")
    group.add_argument(
        "--check", action="store_true",
        help="write it only if it is safe for the domain that it came from",
    )  # fmt: skip


def _add_trial(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--timeout", type=int, default=300, metavar="SECONDS",
        help="to shut down, and again to come up as PV (default: 300)",
    )  # fmt: skip
    group.add_argument(
        "--force-off", action="store_true",
        help="switch the HVM domain off if it does not shut down in time",
    )  # fmt: skip
    group.add_argument(
        "--restore", action="store_true",
        help="go back to the disks as they were, too; refused where no snapshot can be taken",
    )  # fmt: skip
    group.add_argument(
        "--evidence", choices=("report", "console"), default="report",
        help="what shows that it is up: its own report, or, for a guest without pvprep in it (one "
        "that was converted from outside), a login on its console and all of its disks and "
        "interfaces connected (default: report)",
    )  # fmt: skip
    group.add_argument(
        "--resume", metavar="NAME", help="go on with the trial of this domain, after a kill"
    )


def main(
    argv: Optional[Sequence[str]] = None, host: Optional[Host] = None, home: str = HOME
) -> int:
    """Run the command; no traceback reaches a user."""
    words = list(sys.argv[1:] if argv is None else argv)
    # FILE comes after `=` only, or the config would be taken for it.
    words = ["--fix=-" if word == "--fix" else word for word in words]
    try:
        args = parser().parse_intermixed_args(words)  # FILE may come behind options
        _check_usage(args)
        return int(_run(args, host or Dom0(), home))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads; Python must not care
        return int(Exit.DONE)
    except KeyboardInterrupt:
        error = Dom0Error("interrupted", "nothing was done")
    except OSError as caught:
        error = Dom0Error(f"{caught.filename or 'system'}: {caught.strerror or caught}")
    except Dom0Error as caught:
        error = caught
    _say(f"pvprep-dom0: {error.message}")
    if error.hint:
        _say(f"  do: {error.hint}")
    if "--json" in words:
        print(report.failure(error))
    return int(error.status)


def _check_usage(args: argparse.Namespace) -> None:
    defaults = vars(parser().parse_args([args.verb]))
    others = {option for options in GOES_WITH.values() for option in options}
    for option in sorted(others - {*GOES_WITH[args.verb]}):
        if getattr(args, option) != defaults[option]:
            raise UsageError(f"--{option.replace('_', '-')} does not go with `{args.verb}`")
    if args.verb == "trial" and not args.what and not args.resume:
        raise UsageError("trial wants a config", "or --resume NAME")
    if args.verb == "trial" and not args.hvm and not args.resume:
        hint = "pvprep-dom0 trial FILE --hvm /etc/xen/NAME.cfg"
        raise UsageError("trial wants the HVM config, for the way back: --hvm", hint)
    if args.resume and (args.what or args.hvm):
        raise UsageError("--resume takes a domain's name alone")
    if args.verb in ("check", "fetch") and not args.what:
        raise UsageError(f"{args.verb} wants {'a config' if args.verb == 'check' else 'a domain'}")
    if args.hvm and args.domain:
        raise UsageError("--hvm and --domain both say what the domain was", "give one of them")
    if args.fix == "" or args.timeout < 1:
        raise UsageError("--fix= wants a file, --timeout a number of seconds")


def _run(args: argparse.Namespace, host: Host, home: str) -> Exit:
    if args.verb == "explain":
        print(report.explain(args.what))
        return Exit.DONE
    if args.resume:
        return _resume(args.resume, host, home)
    policy = load(args.policy) if args.policy else load_default()
    if args.verb == "check":
        return _check(args, host, policy)
    if args.verb == "fetch":
        return _fetch(args, host, policy)
    return _trial(args, host, policy, home)


def _check(args: argparse.Namespace, host: Host, policy: Policy) -> Exit:
    running = domains.running(host)
    own = _own(args, running)
    data = _read(args.what)

    def judge(config: bytes) -> Report:
        return check(config, policy, own, running)

    found = judge(data)
    for line in report.lines(found):
        _say(line)
    fixed = fix.fix(found, judge) if args.fix else None
    if args.json:
        print(report.document(found, fixed))
    if fixed is not None and not (args.json and args.fix == "-"):
        _write(fixed.encode("utf-8"), args.fix)
    return Exit.DONE if fixed is not None or not found.errors else Exit.REFUSED


def _own(args: argparse.Namespace, running: Optional[Sequence[Domain]]) -> Optional[Domain]:
    """What the domain was: by its old config, or as it runs."""
    if args.hvm:
        return domains.configured(_read(args.hvm).decode("utf-8", "surrogateescape"), args.hvm)
    if not args.domain:
        return None
    own = domains.find(running or (), args.domain)
    if own is None:
        raise Dom0Error(f"no domain {args.domain!a} runs, or xl does not tell", "see `xl list`")
    return own


def _fetch(args: argparse.Namespace, host: Host, policy: Policy) -> Exit:
    number = xenstore.domid(host, args.what)
    handed = xenstore.fetch(host, number)
    if args.check:
        if handed.format != "xl":
            raise Dom0Error(f"it is in the form {handed.format}, and only xl can be checked")
        running = domains.running(host)
        args.domain = str(number)
        found = check(handed.data, policy, _own(args, running), running)
        for line in report.lines(found):
            _say(line)
        if args.json:
            print(report.document(found, None))
        if found.errors:
            return Exit.REFUSED
    else:
        _say("Do not trust it before `pvprep-dom0 check` has read it.")
    if not (args.json and not args.output):
        _write(handed.data, args.output or "-")
    return Exit.DONE


def _trial(args: argparse.Namespace, host: Host, policy: Policy, home: str) -> Exit:
    data, hvm = _read(args.what), _read(args.hvm)
    own = domains.configured(hvm.decode("utf-8", "surrogateescape"), args.hvm)
    running = domains.running(host)
    if running is None:
        raise Dom0Error("xl does not tell which domains run", "run this in dom0, as root")
    found = check(data, policy, own, running)
    if found.errors:
        for line in report.lines(found):
            _say(line)
        return Exit.REFUSED
    store = Store(home, own.name)
    store.lock()
    try:
        if store.load():
            hint = f"pvprep-dom0 trial --resume {own.name}"
            raise Dom0Error(f"a trial of {own.name} has not come to its end", hint, Exit.HALF_WAY)
        state = State(
            own.name, store.file("pv.cfg"), store.file("hvm.cfg"),
            timeout=args.timeout, force_off=args.force_off, restore=args.restore,
            evidence=args.evidence,
        )  # fmt: skip
        trial = Trial(host, store, _say, _stop_on_signals())
        snapshot = time.strftime("pvprep-%Y%m%dT%H%M%S")
        return trial.begin(state, data, hvm, found.disks, snapshot)
    finally:
        store.unlock()


def _resume(name: str, host: Host, home: str) -> Exit:
    if "/" in name or not name:
        raise UsageError(f"{name!a} is not the name of a domain")
    store = Store(home, name)
    store.lock()
    try:
        state = store.load()
        if state is None:
            _say(f"no trial of {name} is under way")
            return Exit.DONE
        return Trial(host, store, _say, _stop_on_signals()).go_on(state)
    finally:
        store.unlock()


def _stop_on_signals() -> Stop:
    """An end in order; xl and its like run in sessions of their own, and do not see the signal."""
    stop = Stop()

    def ask(number: int, frame: object) -> None:
        stop.asked = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    return stop


def _read(place: str) -> bytes:
    """A config; one byte more than is allowed at most."""
    if place == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    with open(place, "rb") as file:
        return file.read(MOST_BYTES + 1)


def _write(data: bytes, place: str) -> None:
    if place == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    temporary = f"{place}.{os.getpid()}.new"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            if os.path.exists(place):  # before there is anything to read in it
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(place).st_mode))
            file.write(data)
        os.replace(temporary, place)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _say(line: str) -> None:
    """Nobody may read any more: what is under way goes on."""
    try:
        print(fix.printable(line), file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass
