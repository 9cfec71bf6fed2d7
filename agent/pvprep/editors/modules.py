"""Lists of modules: /etc/modules and modules-load.d/*.conf, /etc/initramfs-tools/modules.

One module a line, with its options; `#` and `;` start comments (modules-load.d(5),
initramfs-tools(7)). In names, `-` and `_` are the same. The aliases of modprobe.d are not these.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .edited import Edit, Edited, lines
from .linewise import Change, cut, insert, is_comment, rewrite


def names(text: str) -> tuple[str, ...]:
    """The modules that a list loads, in order, with `_` for `-`."""
    return tuple(name for name in map(_name, lines(text)) if name)


def comment_out(text: str, gone: Collection[str], why: str) -> Edited:
    """Switch these modules off; their lines stay readable behind a `#`, with the reason."""
    plain = {_plain(name) for name in gone}

    def change(body: str) -> Change:
        if _name(body) not in plain:
            return body, ()
        new = f"# {body}  # pvprep: {why}"
        return new, [(body, new)]

    return rewrite(text, change)


def put_first(text: str, wanted: Sequence[str]) -> Edited:
    """Make these modules the first of the list, in this order.

    Those that are there already, further down, are moved with their options. A list that starts
    with them in any order is left.
    """
    plain = [_plain(name) for name in wanted]
    every = lines(text)
    if set(names(text)[: len(plain)]) >= set(plain):
        return Edited(text)
    moved = {_name(line): cut(line)[0] for line in reversed(every) if _name(line) in plain}
    edits = [Edit(n, cut(line)[0], "") for n, line in enumerate(every, 1) if _name(line) in plain]
    kept = [line for line in every if _name(line) not in plain]
    at = next((at for at, line in enumerate(kept) if _name(line)), len(kept))
    bodies = [moved.get(name, wanted[number]) for number, name in enumerate(plain)]
    added = insert("".join(kept), at, bodies)
    return Edited(added.text, (*edits, *added.edits))


def _name(line: str) -> str:
    """The module that a line names, "" if it is a comment."""
    body = cut(line)[0]
    return "" if is_comment(body, "#;") else _plain(body.split()[0] if body.split() else "")


def _plain(name: str) -> str:
    return name.replace("-", "_")
