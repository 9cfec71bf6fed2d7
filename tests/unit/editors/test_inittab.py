from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import inittab, securetty
from pvprep.editors.edited import Edit, Edited, lines

from .laws import decode, line_texts, texts

WHEEZY = """\
# /etc/inittab: init(8) configuration.
id:2:initdefault:
si::sysinit:/etc/init.d/rcS
1:2345:respawn:/sbin/getty 38400 tty1
2:23:respawn:/sbin/getty 38400 tty2
# Example how to put a getty on a serial line (for a terminal)
#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100
"""
RHEL5 = """\
id:3:initdefault:
1:2345:respawn:/sbin/mingetty tty1
"""
COMMAND = "'test -c /dev/hvc0 && exec /sbin/getty 38400 hvc0 linux; exec sleep 3600'"


def getty(text: str) -> Edited:
    return inittab.add_getty(text, "hvc0")


def test_debian_7() -> None:
    line = f"hvc0:2345:respawn:/bin/sh -c {COMMAND}"
    assert getty(WHEEZY) == Edited(WHEEZY + line + "\n", (Edit(8, "", line),))
    assert getty(getty(WHEEZY).text).edits == ()


def test_rhel_5_has_agetty() -> None:
    assert inittab.add_getty(RHEL5, "xvc0").text == RHEL5 + (
        "xvc0:2345:respawn:/bin/sh -c 'test -c /dev/xvc0 && exec /sbin/agetty 38400 xvc0 linux;"
        " exec sleep 3600'\n"
    )


def test_a_getty_that_is_there_is_enough() -> None:
    for line in ("h0:2345:respawn:/sbin/getty 38400 hvc0", "co:23:respawn:/sbin/agetty hvc0 9600"):
        assert getty(line) == Edited(line)
    for line in ("#h0:2345:respawn:/sbin/getty 38400 hvc0", "h:2:respawn:/sbin/getty 38400 hvc01"):
        assert getty(line).edits


def test_an_id_that_is_free() -> None:
    text = "hvc0:2:once:/bin/true\nc0:2:once:/bin/true\n"
    assert lines(getty(text).text)[2].startswith("x000:")


def test_without_the_device_the_line_waits(tmp_path: Path) -> None:
    command = COMMAND.strip("'").replace("/dev/hvc0", str(tmp_path / "hvc0"))
    script = "sleep() { echo waits $1; }; " + command.replace("exec sleep", "sleep")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "waits 3600\n"


def test_securetty() -> None:
    assert securetty.add("console\ntty1\n", "hvc0").text == "console\ntty1\nhvc0\n"
    assert securetty.add("console\r\ntty1", "hvc0").text == "console\r\ntty1\r\nhvc0"
    assert securetty.add("hvc0 \ntty1", "hvc0").edits == ()
    assert securetty.add("#hvc0\nhvc01\n", "hvc0").edits == (Edit(3, "", "hvc0"),)


@given(st.one_of(
    texts("hvc0", ":", "respawn", "/sbin/getty", "tty1", "#"),
    line_texts(*WHEEZY.splitlines(), *RHEL5.splitlines()),
    st.binary(max_size=60).map(decode),
))
def test_any_text(text: str) -> None:
    for edited, again in (
        (getty(text), getty), (securetty.add(text, "x"), lambda t: securetty.add(t, "x")),
    ):
        assert edited.text.startswith(text)
        assert len(lines(edited.text)) == len(lines(text)) + len(edited.edits)
        assert again(edited.text) == Edited(edited.text)
