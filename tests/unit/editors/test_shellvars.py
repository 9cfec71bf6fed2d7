from __future__ import annotations

import subprocess
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.editors import shellvars
from pvprep.editors.edited import Edit, Edited
from pvprep.editors.linewise import Partial

from .laws import decode, holds, line_texts, texts

GRUB = """\
# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg.
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="root=/dev/sda1 dyndbg=\\"file a +p\\""
#GRUB_CMDLINE_LINUX="commented"
"""


def more(text: str, key: str = "K") -> Partial:
    return shellvars.edit(text, key, lambda value: f"{value} x".strip())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("#K=1\n", None),
        ("KK=1\n", None),
        ("K=1\n", "1"),
        ("K=\n", ""),
        ("K=1\nK=2", "2"),
        ("K='a b'\r\n", "a b"),
        ('K="a \\"b\\" \\$c \\\\ \\x"', 'a "b" $c \\ \\x'),
        ('K="a"\'b\'c\\ d', "abc d"),
        ('K=a\nK+=" b"\n', "a b"),
        ("K+=b\n", "b"),
        ("export K=a; L=b\n", "a"),
        ("  K=a # no\n", "a"),
        ("K=a#b\n", "a#b"),
        ('K="$K ${L}"\n', "$K ${L}"),
        ('L="\nK=no\n"\nK=yes\n', "yes"),
        ('K=yes\nL="\nK=no\n"\n', "yes"),
        ('K="a\\\nb"\n', "ab"),
        ('K="open\nL=1\n', '"open'),
        ("K=`a b` # c\n", "`a b` # c"),
    ],
)
def test_get(text: str, value: Optional[str]) -> None:
    assert shellvars.get(text, "K") == value


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("K=\n", "K=x\n"),
        ('K=""\n', 'K="x"\n'),
        ("K=a\r\n", 'K="a x"\r\n'),
        ("K='a'", "K='a x'"),
        (' export K="a"  # why\n', ' export K="a x"  # why\n'),
        ('K="$K a"\n', 'K="$K a x"\n'),
        ('K="a"\nL=1\nK="b"\n', 'K="a x"\nL=1\nK="b x"\n'),
        ('K="a \\"b\\""\n', 'K="a \\"b\\" x"\n'),
        ("#K=a\nKK=a\n", "#K=a\nKK=a\n"),
    ],
)
def test_edit(text: str, new: str) -> None:
    edited = more(text)
    assert edited.text == new
    assert edited.leftover == ()


@pytest.mark.parametrize(
    "text",
    ["K=`a`\n", 'K="$(a)"\n', "K=$(a b)\n", 'K="a\\\nb"\n', 'K="a\nb"\n', "K=a\\\nb\n", 'K="a"b\n',
     'K="a\n', "K='a\n", "K=a|b\n", "K=a(\n"],
)
def test_what_cannot_be_edited_in_place_is_left_and_named(text: str) -> None:
    edited = more("L=1\n" + text)
    assert (edited.text, edited.edits) == ("L=1\n" + text, ())
    assert edited.leftover == ((2, text.split("\n")[0]),)


@pytest.mark.parametrize("value", ['"', "`id`", "$(id)", "\\"])
def test_a_value_that_breaks_out_of_its_quotes_is_refused(value: str) -> None:
    text = 'K="a"\n'
    edited = shellvars.edit(text, "K", lambda _old: value)
    assert (edited.text, edited.leftover) == (text, ((1, 'K="a"'),))


def test_etc_default_grub() -> None:
    edited = shellvars.edit(
        GRUB, "GRUB_CMDLINE_LINUX", lambda v: v.replace("/dev/sda1", "/dev/xvda1")
    )
    assert edited.text == GRUB.replace("/dev/sda1", "/dev/xvda1")
    assert [edit.line for edit in edited.edits] == [7]
    assert shellvars.get(GRUB, "GRUB_CMDLINE_LINUX") == 'root=/dev/sda1 dyndbg="file a +p"'


def test_append() -> None:
    assert shellvars.append("A=1", "K", 'a "$b`\\') == Edited(
        'A=1\nK="a \\"\\$b\\`\\\\"', (Edit(2, "", 'K="a \\"\\$b\\`\\\\"'),)
    )
    assert shellvars.append("A=1\r\n", "K", "").text == 'A=1\r\nK=""\r\n'
    assert shellvars.append("", "K", "v").text == 'K="v"\n'
    assert shellvars.append("K=v\n", "K", "v").edits == ()


PIECES = ("K=", "K=a\n", 'K="a"\n', "K='a b'\n", "K+=b\n", '"', "'", "\\", "`", "$(", "L=1\n",
          "#K=a\n", "export K=", "a", ";", "$K")


def upper(text: str) -> Edited:
    return shellvars.edit(text, "K", lambda value: value.replace("a", "A"))


@given(texts(*PIECES))
def test_any_text(text: str) -> None:
    holds(upper, text)


@given(line_texts(*GRUB.splitlines(), 'K="a b"', "K=a", "K='"))
def test_any_order_of_real_lines(text: str) -> None:
    holds(upper, text)


@given(texts(*PIECES), st.binary(max_size=9).map(decode))
def test_what_is_appended_is_what_is_read(text: str, value: str) -> None:
    edited = shellvars.append(text, "K", value)
    assert edited.text.startswith(text)
    if edited.edits and '"' not in text and "'" not in text and "\\" not in text:
        assert shellvars.get(edited.text, "K") == value


WORDS = st.lists(
    st.sampled_from(["a", "b#", "'a b'", "'\"'", '"a b"',
                     '"\\"$"', '"\\$a\\\\"', "\\ ", "\\'", '""', "é"])
).map("".join)


@settings(max_examples=25)
@given(WORDS)
def test_values_are_read_as_sh_reads_them(word: str) -> None:
    script = f"K={word}\n"
    shell = subprocess.run(
        ["/bin/sh", "-c", script + 'printf %s "$K"'], capture_output=True, check=True
    )
    assert shellvars.get(script, "K") == decode(shell.stdout)
