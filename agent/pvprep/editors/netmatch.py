"""Network configuration that finds its interface by hardware which a PV guest does not have.

Such a match is rewritten to match the same interface by its MAC address, but only where that is
one interface for sure; all else is left over for a person. Sources: systemd.link(5),
systemd.network(5), netplan(5) "match", NetworkManager's nm-settings-keyfile(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..facts import Nic
from .edited import Edit, Edited, lines
from .linewise import Partial, cut, insert, is_comment

# What a vif of Xen answers: ethtool's and the module's name of its driver; udev's ID_PATH.
_PV = {"driver": ("vif", "xen_netfront", "xen-netfront"), "path": ("xen-vif-0", "vif-0")}
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
_SECTION = re.compile(r"[ \t]*\[([^\]]*)\][ \t]*")
_INI = re.compile(r"[ \t]*([A-Za-z-]+)[ \t]*=[ \t]*")
_YAML = re.compile(r"( *)([\w-]+):(?:[ \t]+|\Z)")
_SCALAR = re.compile(r""""[^"\\]*"|'[^']*'|[^ \t#"'&*!|>{}\[\],%@`?:-][^ \t#]*""")
_NO_MORE = re.compile(r"[ \t]*(?:[ \t]#.*)?", re.DOTALL)
_FLOW = re.compile(r"\bmatch:[ \t]*\{")
_NETWORKD = {"Driver": "driver", "Path": "path", "MACAddress": "mac", "Name": "name"}
_ETHERNET = ("ethernet", "802-3-ethernet")
_NETPLAN = {"driver": "driver", "macaddress": "mac", "name": "name"}


@dataclass(frozen=True)
class _Condition:
    """One line of a match, from 0: what it asks about, the patterns, and the text for both.

    patterns are empty where the line cannot be read with certainty. by_mac is the text that asks
    for the MAC address instead, with {} for it.
    """

    line: int
    kind: str
    patterns: tuple[str, ...]
    text: str
    by_mac: str


def networkd(text: str, nics: Sequence[Nic]) -> Partial:
    """.network and .link files: Driver= and Path= in [Match] become MACAddress=."""
    match = []
    for at, key, head, value in _ini(text, "Match"):
        plain = () if re.search(r"[\"'\\]", value) else tuple(value.split())
        if key in _NETWORKD and value:
            by_mac = head.replace(key, "MACAddress", 1) + "{}"
            match.append(_Condition(at, _NETWORKD[key], plain, head + value, by_mac))
    return _rewrite(text, [match], nics)


def netplan(text: str, nics: Sequence[Nic]) -> Partial:
    """netplan's YAML: `driver:` in a `match:` becomes `macaddress:`."""
    flow = [
        (at + 1, body.strip())
        for at, body in enumerate(_bodies(text))
        if not is_comment(body) and (found := _FLOW.search(body)) and "driver" in body[found.end():]
    ]
    edited = _rewrite(text, list(_yaml_matches(text)), nics)
    return Partial(edited.text, edited.edits, tuple(sorted([*edited.leftover, *flow])))


def keyfile(text: str, nics: Sequence[Nic]) -> Partial:
    """NetworkManager's keyfiles: driver= and path= in [match] become mac-address= in [ethernet]."""
    match = []
    for at, key, head, value in _ini(text, "match"):
        if key in _PV and value.strip(";"):
            plain = tuple(value.strip(";").split(";"))
            # Of several conditions "|" and "&" say which have to hold.
            sure = not any(re.match(r"[|&\\]", part) for part in plain)
            match.append(_Condition(at, key, plain if sure else (), head + value, ""))
    gone = [found for found in match if not _stays(found)]
    name, mac, ethernet = keyfile_interface(text)
    known = (("name", name), ("mac", mac))
    match += [_Condition(0, kind, (value,), "", "") for kind, value in known if value]
    wanted = _only(match, nics) if gone and ethernet else ""
    if not gone or not wanted:
        return Partial(text, (), tuple((found.line + 1, found.text.strip()) for found in gone))
    every = lines(text)
    for found in gone:
        every[found.line] = ""
    edits = [Edit(found.line + 1, found.text.strip(), "") for found in gone]
    added = Edited("".join(every)) if mac else _add_mac("".join(every), wanted)
    return Partial(added.text, (*edits, *added.edits))


def keyfile_interface(text: str) -> tuple[str, str, bool]:
    """What a keyfile's connection is for: name and MAC address ("" if any), and whether it is one
    over Ethernet."""
    connection = {key: value for _, key, _, value in _ini(text, "connection")}
    card = {key: value for part in _ETHERNET for _, key, _, value in _ini(text, part)}
    mac = card.get("mac-address", "").lower()
    return connection.get("interface-name", ""), mac, connection.get("type") in _ETHERNET


def _add_mac(text: str, mac: str) -> Edited:
    body = f"mac-address={mac}"
    for at, line in enumerate(_bodies(text)):
        found = _SECTION.fullmatch(line)
        if found and found[1] in _ETHERNET:
            return insert(text, at + 1, [body])
    return insert(text, len(lines(text)), ["", "[ethernet]", body])


def _rewrite(text: str, matches: Sequence[Sequence[_Condition]], nics: Sequence[Nic]) -> Partial:
    every = lines(text)
    edits, leftover = [], []
    for match in matches:
        gone = [found for found in match if found.kind in _PV and not _stays(found)]
        mac = _only(match, nics) if gone else ""
        if not mac:
            leftover += [(found.line + 1, found.text.strip()) for found in gone]
            continue
        asked = any(found.kind == "mac" for found in match)
        for found in gone:
            # One line asks for the MAC address; in YAML a key may not come twice.
            new = "" if asked else found.by_mac.format(mac)
            asked = True
            old = every[found.line]
            every[found.line] = old.replace(found.text, new, 1) if new else ""
            edits.append(Edit(found.line + 1, found.text.strip(), new.strip()))
    edits.sort(key=lambda edit: edit.line)
    return Partial("".join(every), tuple(edits), tuple(sorted(leftover)))


def _stays(found: _Condition) -> bool:
    """Does it hold for a vif as well? Then there is nothing to do."""
    return bool(found.patterns) and _met(found.patterns, _PV[found.kind])


def _only(match: Sequence[_Condition], nics: Sequence[Nic]) -> str:
    """The MAC address of the one interface that a match is for; "" if that is not certain."""
    asked = {found.kind: list[str]() for found in match}
    for found in match:
        if not found.patterns or any(pattern.startswith("!") for pattern in found.patterns):
            return ""
        asked[found.kind] += found.patterns
    if len(asked.get("mac", [])) > 1:
        return ""
    fits = [nic.mac for nic in nics if all(_fits(nic, *item) for item in asked.items())]
    return fits[0] if len(fits) == 1 and _MAC.fullmatch(fits[0]) else ""


def _fits(nic: Nic, kind: str, patterns: Sequence[str]) -> bool:
    if kind == "mac":
        return nic.mac.lower() == patterns[0].lower()
    value = {"driver": nic.driver, "path": nic.path, "name": nic.name}[kind]
    return bool(value) and _met(patterns, (value,))


def _met(patterns: Sequence[str], values: Sequence[str]) -> bool:
    """Does one of the values fit one of the shell patterns? With a `!` in front: none of them."""
    if patterns[0].startswith("!"):
        return False
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


def _bodies(text: str) -> list[str]:
    return [cut(line)[0] for line in lines(text)]


def _ini(text: str, section: str) -> Iterator[tuple[int, str, str, str]]:
    """The settings of a section: line from 0, key, the text up to the value, the value."""
    within = continued = False
    for at, body in enumerate(_bodies(text)):
        part = continued
        continued = body.endswith("\\") and not is_comment(body, "#;")
        found = _SECTION.fullmatch(body)
        if part or is_comment(body, "#;"):
            continue
        if found:
            within = found[1] == section
            continue
        pair = _INI.match(body)
        if within and pair:
            yield at, pair[1], pair[0], body[pair.end() :].rstrip(" \t")


def _yaml_matches(text: str) -> Iterator[list[_Condition]]:
    """The conditions of each `match:` that is written as a block."""
    inside: list[_Condition] = []
    outer = inner = -1
    for at, body in enumerate(_bodies(text)):
        if is_comment(body):
            continue
        indent = len(body) - len(body.lstrip(" "))
        if indent <= outer:
            yield inside
            inside, outer, inner = [], -1, -1
        pair = _YAML.match(body)
        if outer < 0:
            if pair and pair[2] == "match" and _NO_MORE.fullmatch(body, pair.end()):
                outer = indent
            continue
        inner = indent if inner < 0 else inner
        if pair and indent == inner and pair[2] in _NETPLAN:
            inside.append(_yaml_condition(at, body, pair))
    yield inside


def _yaml_condition(at: int, body: str, pair: re.Match[str]) -> _Condition:
    """A condition; without patterns if its value is more than a plain or quoted word."""
    kind, head = _NETPLAN[pair[2]], pair[0]
    value = _SCALAR.match(body, pair.end())
    if not value or not _NO_MORE.fullmatch(body, value.end()):
        return _Condition(at, kind, (), body.strip(), "")
    by_mac = head.replace(pair[2], "macaddress", 1) + '"{}"'
    plain = value[0].strip("\"'")
    return _Condition(at, kind, (plain,) if plain else (), head + value[0], by_mac)
