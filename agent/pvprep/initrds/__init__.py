"""Builders of initrds: which one a guest uses, and one module for each."""

from __future__ import annotations

import re
from stat import S_ISREG

from ..errors import PvprepError
from ..guest import Guest, Line
from ..synced import create
from . import dracut, initramfs_tools, mkinitrd, mkinitrd_suse

_TOOLS = {
    "initramfs-tools": initramfs_tools,
    "dracut": dracut,
    "mkinitrd": mkinitrd,
    "mkinitrd-suse": mkinitrd_suse,
}
# Where a kernel package's scripts look for what builds its initrd (run-parts in linux-image).
_HOOKS = ("/etc/kernel/postinst.d", "/usr/share/kernel/postinst.d")
# Where builders work: whatever a kill leaves there is ours to remove, unlike in /var/tmp.
SCRATCH = "/var/lib/pvprep/tmp"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")


def detect(guest: Guest) -> str:
    """Which builder makes this guest's initrds, by its name in _TOOLS, or "".

    By evidence: its program is there, and its hook runs when a kernel is installed. A removed
    builder's hook may stay behind as a configuration file, and dracut-core comes without a hook;
    so it takes both. Where both builders have both, the hook that runs last wins, as it would for a
    kernel package: run-parts goes by name. Where kernels are rpm packages there is one builder,
    and it has no such hook.
    """
    there = [name for name, tool in _TOOLS.items() if tool.found(guest)]
    hooked = [
        name for name in there if any(guest.is_file(f"{directory}/{name}") for directory in _HOOKS)
    ]
    return max(hooked or there, default="")


def options(guest: Guest, tool: str) -> frozenset[str]:
    """What this version of the builder knows of what not all its versions do (see dracut)."""
    return dracut.options(guest) if tool == "dracut" else frozenset()


def build(
    guest: Guest, tool: str, version: str, output: str, line: Line, secret: bool = False
) -> None:
    """Build the initrd of a kernel version at output, a path inside the guest; nothing is there.

    line: gets every line that the builder says. secret: none but its owner can read it meanwhile,
    whatever mode the builder gives to new files. Raises PvprepError where it fails; a file that is
    no initrd may then lie at output. What the initrd holds is for the caller to prove: builders end
    well even where a driver is missing.
    """
    if tool not in _TOOLS:
        raise PvprepError(f"no builder of initrds named {tool!r}")
    if not _VERSION.fullmatch(version):
        raise PvprepError(f"{version!r} is no kernel version")
    if not guest.is_dir(f"/lib/modules/{version}"):
        raise PvprepError(
            f"/lib/modules/{version} is missing: no initrd can be built for that kernel",
            "install the package of that kernel again",
        )
    argv = _TOOLS[tool].command(guest, version, output)
    sweep(guest)
    guest.make_directory(SCRATCH, 0o700)
    if secret:  # builders write into a file that is there
        create(guest.host(output, follow=False), ())
    try:
        done = guest.run(argv, env={"TMPDIR": SCRATCH}, line=line, tied=True, offline=True)
    finally:
        sweep(guest)
    said = done.output.splitlines()
    errors = [text for text in said if text.startswith("E: ")]
    made = guest.stat(output)
    if done.status or errors or not (made and S_ISREG(made.st_mode) and made.st_size):
        # A hook that failed says why before mkinitramfs says that it failed.
        tail = "\n".join(f"  {text}" for text in said[-12:])
        ended = f"status {done.status}" if done.status >= 0 else f"signal {-done.status}"
        raise PvprepError(
            f"{tool} failed for {version} ({ended}); it said:\n{tail}",
            _TOOLS[tool].hint(done.output),
        )


def sweep(guest: Guest) -> None:
    """Remove what a killed builder left."""
    import shutil

    shutil.rmtree(guest.host(SCRATCH, follow=False), ignore_errors=True)


def finish(guest: Guest, tool: str, version: str, path: str, line: Line) -> None:
    """Tell who has to know that a new initrd lies at its final path (also when it is put back)."""
    argv = _TOOLS[tool].finish(guest, version, path) if tool else []
    if argv:
        done = guest.run(argv, line=line, offline=True)
        if done.status:
            said = "\n".join(f"  {text}" for text in done.output.splitlines()[-12:])
            raise PvprepError(f"{' '.join(argv)}: status {done.status}; it said:\n{said}")
