"""Interfaces and screens as xl's parse_config_data reads them: words between commas (strtok(3)).

xl skips empty words and the spaces before a word, and takes the last of two with one key.
"""

from __future__ import annotations

import re

# An interface's rate, as libxlu_vif.c has it.
RATE = re.compile(r"[0-9]+[GMK]?[Bb]/s(@[0-9]+[mu]?s?)?")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def words(spec: str) -> list[tuple[str, str]]:
    """(key, value) for each word; the key is "" where a word has no `=`."""
    found = []
    for word in spec.split(","):
        if not word:
            continue
        key, equals, value = word.lstrip(" ").partition("=")
        found.append((key, value) if equals else ("", key))
    return found


def is_unicast(mac: str) -> bool:
    """Whether it is the address of one interface: xl takes 00:00:00:00:00:00 for none given."""
    return bool(MAC.fullmatch(mac)) and not int(mac[:2], 16) & 1 and mac.strip("0:") != ""
