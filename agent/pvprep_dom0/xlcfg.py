"""The grammar of xl.cfg(5), as libxlu_cfg_l.l and libxlu_cfg_y.y of Xen have it; nothing is run.

Two things that xl reads are refused here, because xl misreads them: numeric escapes in strings
(`"a\\101b"` becomes `ab`) and NUL. And lists are nested no deeper than NESTING.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional, Union

Value = Union[str, tuple["Value", ...]]

NESTING = 8  # xl.cfg(5) knows lists of lists (vnuma) and nothing deeper

_TOKENS = re.compile(
    r"(?P<IDENT>[a-z][._0-9a-z]*)"
    r"|(?P<NUMBER>[0-9][0-9a-fx]*)"
    r"|(?P<SPACE>[ \t]+)"
    r"|(?P<OP>\+=|[,\[\]=;])"
    r"|(?P<NEWLINE>\n|#.*\n)"
    r"""|(?P<STRING>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
)
_NUMBER = re.compile(
    r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))"
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {
    "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r",
    "t": "\t", "v": "\v",
}  # fmt: skip
_ATOMS = ("STRING", "NUMBER")


class ConfigError(Exception):
    """xl refuses the file, or misreads it: what, and in which line."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True)
class Setting:
    """`key = value` or `key += value`. items: the lines of a list's values, the first level."""

    key: str
    value: Value
    line: int
    append: bool = False
    items: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str) -> tuple[Setting, ...]:
    """The settings in their order; xl takes the last of those with one key. Raises ConfigError.

    text: the file, decoded as utf-8 with surrogateescape.
    """
    return _Parser(list(_tokens(text))).file()


def effective(settings: Sequence[Setting]) -> dict[str, Setting]:
    """What xl takes in the end: the last with each key, `+=` joined to what was before it.

    Raises ConfigError where a list and a single value would be joined.
    """
    found: dict[str, Setting] = {}
    for setting in settings:
        before = found.pop(setting.key, None)
        if setting.append and before:
            old, new = before.value, setting.value
            lines = before.items + setting.items
            if isinstance(old, str) and isinstance(new, str):
                value: Value = old + new
            elif isinstance(old, tuple) and isinstance(new, tuple):
                value = old + new
            else:
                raise ConfigError(f"{setting.key} += of another kind", setting.line)
            setting = Setting(setting.key, value, setting.line, True, lines)
        found[setting.key] = setting
    return found


def number(text: str) -> Optional[int]:
    """What strtol(3), base 0, makes of a setting, as xl does: 010 is 8. None: not a number."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    sign, hexadecimal, octal, decimal = found.groups()
    if hexadecimal:
        value = int(hexadecimal, 16)
    elif octal:
        value = int(octal, 8)
    else:
        value = int(decimal) if len(decimal) < 20 else 2**63
    value = -value if sign == "-" else value
    return value if -(2**63) <= value < 2**63 else None


def _tokens(text: str) -> Iterator[_Token]:
    if "\0" in text:
        raise ConfigError("a NUL byte: xl stops there", text.count("\n", 0, text.index("\0")) + 1)
    line, place = 1, 0
    while place < len(text):
        found = _TOKENS.match(text, place)
        if not found:
            word = re.match(r"[^ \t\n]*", text[place : place + 40])
            near = word[0] if word else ""
            raise ConfigError(f"nothing that xl can read: {near!a}", line)
        kind = str(found.lastgroup)
        if kind != "SPACE":
            yield _Token(found[0] if kind == "OP" else kind, found[0], line)
        line += kind == "NEWLINE"
        place = found.end()
    yield _Token("END", "", line)


class _Parser:
    """By recursive descent; the rules have the names of libxlu_cfg_y.y."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._place = 0

    def file(self) -> tuple[Setting, ...]:
        found = []
        while self._next.kind != "END":
            if self._next.kind in ("NEWLINE", ";"):
                self._take()
                continue
            found.append(self._assignment())
            if self._next.kind not in ("NEWLINE", ";", "END"):
                raise self._unexpected("the end of the line")
        return tuple(found)

    def _assignment(self) -> Setting:
        key = self._expect("IDENT")
        if self._next.kind not in ("=", "+="):
            raise self._unexpected("=")
        append = self._take().kind == "+="
        lines: list[int] = []
        value = self._value(0, lines)
        return Setting(key.text, value, key.line, append, tuple(lines))

    def _value(self, depth: int, lines: list[int]) -> Value:
        if self._next.kind in _ATOMS:
            return _atom(self._take())
        if self._next.kind != "[":
            raise self._unexpected("a string, a number or [")
        if depth == NESTING:
            raise ConfigError("lists are nested too deeply", self._next.line)
        self._take()
        self._newlines()
        values: list[Value] = []
        while self._next.kind != "]":
            if values:
                self._expect(",")
                self._newlines()
                if self._next.kind == "]":
                    break
            if depth == 0:
                lines.append(self._next.line)
            values.append(self._value(depth + 1, lines))
            self._newlines()
        self._expect("]")
        return tuple(values)

    def _newlines(self) -> None:
        while self._next.kind == "NEWLINE":
            self._take()

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, kind: str) -> _Token:
        if self._next.kind != kind:
            raise self._unexpected("a key" if kind == "IDENT" else kind)
        return self._take()

    def _unexpected(self, wanted: str) -> ConfigError:
        near = {"END": "the end of the file", "NEWLINE": "the end of the line"}.get(self._next.kind)
        return ConfigError(
            f"{near or ascii(self._next.text[:40])} where xl wants {wanted}", self._next.line
        )


def _atom(token: _Token) -> str:
    if token.kind == "NUMBER":
        return token.text

    def replace(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise ConfigError(f"the escape {found[0]!a}, which xl refuses or misreads", token.line)
        return _ESCAPED[found[1]]

    return _ESCAPE.sub(replace, token.text[1:-1])
