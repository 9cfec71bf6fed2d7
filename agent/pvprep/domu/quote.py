"""Strings in the grammar of each form, so that no value and no comment can become a key.

Source for xl: xl.cfg(5) and Xen's tools/libs/util/libxlu_cfg_l.l, libxlu_cfg.c. A string may hold
any byte but a newline, which ends it with an error, and NUL, which ends the file. Numeric escapes
are never written: xl reads the octal ones as decimal.
"""

from __future__ import annotations

import re
import unicodedata

from pvprep.errors import PvprepError

COMMENT_LENGTH = 200  # characters; a comment is for reading
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
# Of those that `check` lets pass: what XML cannot hold (Extensible Markup Language 1.0, 2.2), and
# what libvirt writes into its own file as it is, where it comes back as a space.
_NOT_XML = "\ufffe\uffff\t"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\t": "\\t"})


def _hidden(char: str) -> bool:
    """Is it a character that nobody sees: control, line separator, direction mark, surrogate?"""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _raw_byte(char: str) -> bool:
    """Does it stand for a byte that is not UTF-8 (surrogateescape)? Paths may hold those."""
    return "\udc80" <= char <= "\udcff"


def check(text: str, what: str) -> str:
    """Give the text back, or refuse it if xl or a reader would take it for something else.

    what: its name for the message. Tabs and bytes that are not UTF-8 are allowed.
    """
    wrong = next((char for char in text if not _fits(char)), None)
    if wrong is not None:
        raise PvprepError(
            f"{what} holds the invisible character U+{ord(wrong):04X}: {text!a}",
            "A configuration of xl cannot hold it safely; give the value without it.",
        )
    return text


def fits(text: str) -> bool:
    """Whether `check` gives the text back."""
    return all(map(_fits, text))


def _fits(char: str) -> bool:
    return not _hidden(char) or char == "\t" or _raw_byte(char)


def quote(text: str) -> str:
    """The text as a string of xl.cfg, with its quotes."""
    return '"' + check(text, "a string").translate(_ESCAPES) + '"'


def python(text: str) -> str:
    """The text as a string of Python 2, which xm runs a configuration with, and of xl.cfg alike."""
    return '"' + check_utf8(text, "a string").translate(_ESCAPES) + '"'


def xml(text: str) -> str:
    """The text as it may stand in an element or an attribute of XML, quotes included."""
    text = check_utf8(text, "a word")
    if any(char in _NOT_XML for char in text):
        raise PvprepError(
            f"a word has characters that libvirt does not keep: {text!a}", "Use `--format xl`."
        )
    return "".join(_ENTITIES.get(char, char) for char in text)


def check_utf8(text: str, what: str) -> str:
    """As `check`; and nothing but UTF-8, for readers that take no other bytes."""
    if any(map(_raw_byte, text)):
        raise PvprepError(
            f"{what} holds bytes that are not UTF-8: {text!a}",
            "Only `--format xl` can hold them.",
        )
    return check(text, what)


def xml_comment(text: str) -> str:
    """The text as it may stand in a comment of XML, which two hyphens would end."""
    shown = "".join("?" if char in _NOT_XML else char for char in comment(text))
    return re.sub(r"-(?=-|$)", "- ", shown)


def comment(text: str) -> str:
    """The text as it may stand behind a `#`: one line, nothing invisible, of bounded length."""
    if len(text) > COMMENT_LENGTH:
        text = text[: COMMENT_LENGTH - 3] + "..."
    return "".join("?" if _hidden(char) else char for char in text)
