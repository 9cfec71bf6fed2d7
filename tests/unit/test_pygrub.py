"""The simulation of pygrub against the real one, on configuration files."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.pygrub_cases import real, snippets
from tests.unit.pygrub_cases.compare import CASES as DIRECTORY
from tests.unit.pygrub_cases.compare import EXTLINUX, GRUB2, LEGACY, path_of, same, volume

from pvprep.pygrub import NOTHING_FOUND, READ_MAX, Pick, Refusal, Volume, choose

CASES = {
    **{f"grub2-{name}": (GRUB2, text.encode()) for name, text in snippets.GRUB2.items()},
    **{f"legacy-{name}": (LEGACY, text.encode()) for name, text in snippets.LEGACY.items()},
    **{f"extlinux-{name}": (EXTLINUX, text.encode()) for name, text in snippets.EXTLINUX.items()},
    **{
        file.name: (path_of(file.name), file.read_bytes())
        for file in sorted(DIRECTORY.iterdir())
        if file.suffix in (".cfg", ".lst", ".conf")
    },
    "not-utf-8": (GRUB2, b"# \xe9\n" + snippets.GRUB2["plain"].encode()),
    "utf-8-cut-at-the-limit": (GRUB2, b"#" * (READ_MAX - 1) + "é".encode()),
    "entry-behind-the-limit": (GRUB2, b"#" * READ_MAX + b"\n" + snippets.GRUB2["plain"].encode()),
    "entry-before-the-limit": (
        GRUB2,
        snippets.GRUB2["plain"].encode() + b"#" * READ_MAX + snippets.GRUB2["bare-set"].encode(),
    ),
}


@pytest.fixture(scope="module")
def pygrub() -> ModuleType:
    return real.load()


@pytest.mark.parametrize("case", CASES)
def test_as_the_real_one(case: str, pygrub: ModuleType) -> None:
    path, content = CASES[case]
    same(pygrub, {path: content})


def test_the_program_itself_on_grub_cfg(tmp_path: Path) -> None:
    """`pygrub --isconfig` takes any file for a grub.cfg. The files of distributions, and snippets
    for each construct that is known to trouble it.
    """
    chosen = ("default-", "root-", "set-", "nested", "no-quotes", "two-initrds", "dollar-root")
    prefixes = tuple(f"grub2-{word}" for word in (*chosen, "linuxefi", "blscfg", "backslash"))
    cases = {
        name: content
        for name, (_, content) in CASES.items()
        if name.endswith(".grub.cfg") or name.startswith(prefixes)
    }
    assert len(cases) > 60

    def ask(case: str) -> Optional[tuple[str, str, str]]:
        file = tmp_path / case
        file.write_bytes(cases[case])
        done = real.run("-q", "-n", f"--output-directory={tmp_path}", "--isconfig", str(file))
        said = re.match("  kernel: (.*)\n(?:  initrd: (.*)\n)?  args: (.*)\n", done.stdout.decode())
        if done.returncode or said is None or not said[1]:
            return None
        return said[1], said[2] or "", said[3]

    def tell(case: str) -> Optional[tuple[str, str, str]]:
        answer = choose([volume({GRUB2: cases[case]})])
        return (answer.kernel, answer.initrd, answer.args) if isinstance(answer, Pick) else None

    with ThreadPoolExecutor(2) as pool:
        expected = dict(zip(cases, pool.map(ask, cases)))
    assert {case: tell(case) for case in cases} == expected


PLACES = (
    *("/boot/grub/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub2/grub.cfg"),
    *("/boot/isolinux/isolinux.cfg", "/boot/extlinux/extlinux.conf", "/boot/extlinux.conf"),
    *("/extlinux/extlinux.conf", "/extlinux.conf", "/boot/grub/menu.lst", "/boot/grub/grub.conf"),
    *("/grub/menu.lst", "/grub/grub.conf"),
)


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_search_order(first: int, pygrub: ModuleType) -> None:
    """Each file names its own place as the kernel; the search has to stop at the same one."""
    files = {
        path: f"menuentry 'x' {{\nlinux {path}\n}}\ntitle x\nlabel x\nkernel {path}\n".encode()
        for path in PLACES[first:]
    }
    assert same(pygrub, files).kernel == PLACES[first]


def test_no_configuration(pygrub: ModuleType) -> None:
    files = {"/boot/efi/EFI/debian/grub.cfg": b"", "/boot/loader/entries/a.conf": b"linux /x"}
    assert same(pygrub, files) == real.Choice()


# Pieces that matter to the parsers, so that random files are more than noise.
_WORD = st.sampled_from(
    [
        *("/vmlinuz", "/initrd", "ro", "root=/dev/xvda1", "a=b=c", "=", "'", '"', "{", "}", "("),
        *(")", "(hd0,1)/k", "(hd0", "($root)/k", "${saved_entry}", "---", "initrd=/i", "INITRD=/i"),
        *("/mboot.c32", "1", "2", "9", "-1", "saved", "A", "hd0,msdos1", "'hd0'", "lvmid/x", "#"),
        *("x>", "é", "\\"),
    ]
)
_BLANK = st.sampled_from([" ", " ", " ", "  ", "\t", "\u00a0", "=", " = ", ""])


def _texts(*starts: str) -> st.SearchStrategy[str]:
    """Files of lines that begin with one of these and go on with words from above."""
    tail = st.lists(st.tuples(_BLANK, _WORD), max_size=4).map(
        lambda parts: "".join(blank + word for blank, word in parts)
    )
    line = st.tuples(st.sampled_from(["", "", "\t", "  "]), st.sampled_from(starts), tail)
    end = st.sampled_from(["\n", "\n", "\r\n", " \n"])
    return st.lists(st.tuples(line.map("".join), end).map("".join), max_size=14).map("".join)


_GRUB2_TEXT = _texts(
    *(
        "menuentry 'A' {",
        "}",
        "menuentry 'B' --class x {",
        "}",
        "linux /vmlinuz ",
        "initrd /initrd",
    ),
    *("set default=", "set root=", "set", "linux", "initrd", "menuentry", "submenu 's' {", "#"),
    *(
        "function f {",
        "linux16 /k",
        "set default",
        "set timeout=",
        "if",
        "fi",
        "}",
        "set root='hd0'",
    ),
)
_LEGACY_TEXT = _texts(
    *("title A", "title", "kernel /vmlinuz ", "kernel", "initrd", "root (hd0,0)", "root", "module"),
    *("default", "default 1", "default=", "timeout", "splashimage=", "rootnoverify", "#", "uuid"),
)
_EXTLINUX_TEXT = _texts(
    *("label A", "LABEL B", "label", "kernel /vmlinuz", "KERNEL mboot.c32", "append", "append x"),
    *("default A", "default", "linux", "initrd", "timeout", "#", "kernel", "Append initrd=/i"),
)


def _blocks(first: tuple[str, ...], body: tuple[str, ...], last: str) -> st.SearchStrategy[str]:
    """Entries in good order, of lines that fit there."""
    inner = st.lists(st.sampled_from(body), max_size=5)
    return st.tuples(st.sampled_from(first), inner).map(lambda e: "\n".join([e[0], *e[1], last]))


def _mostly_good(blocks: st.SearchStrategy[str], *outside: str) -> st.SearchStrategy[str]:
    """Files of such entries, and lines that fit between them."""
    between = st.lists(st.sampled_from(outside), max_size=3).map("\n".join)
    parts = st.lists(st.tuples(between, blocks).map("\n".join), min_size=1, max_size=5)
    return st.tuples(parts.map("\n".join), st.sampled_from(["\n", "\r\n", "\n\t"])).map(
        lambda parts: parts[0].replace("\n", parts[1])
    )


_GRUB2_GOOD = _mostly_good(
    _blocks(
        ("menuentry 'A' {", 'menuentry "B\'s" --class x {', "menuentry '' $id 'x' { # y"),
        (
            *(
                "linux /vmlinuz ro a=b",
                "linux\t/k root=LABEL=é  quiet ",
                "linux16 (hd0,1)/k",
                "linux",
            ),
            *(
                "initrd /i",
                "initrd16  (hd1,gpt2)/j",
                "initrd /i /j",
                "initrd",
                "set root='hd0,gpt1'",
            ),
            *("search --set=root x", "set a=", "if [ x = y ]; then", "fi", "submenu", "# linux /x"),
        ),
        "}",
    ),
    *("set default=1", 'set default="2"', "set default='A'", "set default=9", "set root=x", "load"),
    *("function f {\nset a=b=c\n}", "submenu 's' {", "submenu 's' {", "set timeout=x", "#", ""),
)
_LEGACY_GOOD = _mostly_good(
    _blocks(
        ("title A", "title  B é", "title"),
        (
            *(
                "kernel /vmlinuz ro a=b",
                "kernel\t(hd0,1)/k root=LABEL=é",
                "kernel=/k",
                "kernel /xen",
            ),
            *(
                "root (hd0,0)",
                "rootnoverify (hd1)",
                "initrd /i",
                "initrd (hd0,1)/i",
                "module /k ro",
            ),
        ),
        "savedefault",
    ),
    *("default 1", "default=2", "default\t0", "default saved", "splashimage=(hd0,0)/x", "#", ""),
)


@pytest.mark.parametrize(
    "path, texts",
    [
        (GRUB2, _GRUB2_TEXT),
        (GRUB2, _GRUB2_GOOD),
        (LEGACY, _LEGACY_TEXT),
        (LEGACY, _LEGACY_GOOD),
        (EXTLINUX, _EXTLINUX_TEXT),
    ],
)
def test_any_file_as_the_real_one(
    path: str, texts: st.SearchStrategy[str], pygrub: ModuleType
) -> None:
    @settings(max_examples=300, deadline=None)
    @given(texts)
    def compare(text: str) -> None:
        same(pygrub, {path: text.encode()})

    compare()


@pytest.mark.parametrize("path", [GRUB2, LEGACY, EXTLINUX])
def test_any_bytes_as_the_real_one(path: str, pygrub: ModuleType) -> None:
    @settings(max_examples=200, deadline=None)
    @given(
        st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
    )
    def compare(noise: bytes) -> None:
        files = {
            path: CASES[{GRUB2: "grub2", LEGACY: "legacy"}.get(path, "extlinux") + "-plain"][1]
        }
        same(pygrub, {path: files[path].replace(b"ro", noise)})

    compare()


@pytest.mark.parametrize(
    "text",
    [
        "menuentry '" + "' '" * 300_000,
        "menuentry 'A' {\n" * 2,
        "menuentry 'A' {\n}\n" * 60_000,
        "set default=" + "9" * 1_000_000,
        "linux " * 170_000,
        "(" * 1_000_000,
        "label a\nkernel /k\nappend" + "".join(f" initrd={n}" for n in range(80_000)),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("path", [GRUB2, LEGACY, EXTLINUX])
def test_hostile_files_take_little_time(path: str, text: str) -> None:
    """The real one needs hours for some of these."""
    start = time.process_time()
    answer = choose([volume({path: text.encode()})])
    assert time.process_time() - start < 3
    assert isinstance(answer, Refusal)
    assert len(answer.reason) < 1000


def _refused(text: str, path: str = GRUB2) -> Refusal:
    answer = choose([volume({path: text.encode()})])
    assert isinstance(answer, Refusal)
    return answer


@pytest.mark.parametrize(
    "text, where, words",
    [
        ('\nset kernelopts="root=UUID=1"\n', 2, "only one `=`"),
        ("menuentry 'A' {\nset root='lvmid/a/b'\n}", 2, "device name `lvmid/a/b`"),
        ("#\nmenuentry 'A' {\n", 2, "misses the `}`"),
        ("menuentry A {\nlinux /x\n}\n", 3, "`}` without a menuentry"),
        ("menuentry 'Firmware' {\nfwsetup\n}\n", 1, "`Firmware` has no kernel"),
        ("#\n# \udce9\n", 2, "UTF-8"),
    ],
)
def test_reasons_say_where(text: str, where: int, words: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    answer = choose([volume({GRUB2: content})])
    assert isinstance(answer, Refusal)
    assert answer.message == NOTHING_FOUND
    assert answer.where == f"{GRUB2}:{where}"
    assert words in answer.reason


def test_reason_without_a_configuration() -> None:
    volumes = [volume({}), volume({}, "/dev/sda2", "LVM2_member"), volume({}, "/dev/sda3", "")]
    answer = choose(volumes)
    assert isinstance(answer, Refusal)
    assert "no boot loader configuration" in answer.reason
    assert "/dev/sda2: pygrub cannot read LVM2_member" in answer.reason
    assert "/dev/sda3: no file system" in answer.reason
    assert answer.where == ""


def test_guest_text_in_reasons_is_short_and_printable() -> None:
    assert "\x1b" not in _refused("menuentry '\x1b[2J' {\n}\n").reason
    assert len(_refused(f"set {'x=' * 5000}\n").reason) < 400


def test_entries_are_shown_although_refused() -> None:
    entries = _refused("menuentry 'A' {\n}\nmenuentry 'B' {\nlinux /k ro\n}\n").entries
    assert [entry.title for entry in entries] == ["A", "B"]


def test_volumes_that_nobody_looked_into_make_a_pick_uncertain() -> None:
    def never(path: str) -> Optional[bytes]:
        raise AssertionError(path)

    unknown = Volume("/dev/sda1", "ext4", never, lambda path: None, known=False)
    swap = Volume("/dev/sda2", "swap", never, lambda path: None, known=False)
    broken = Volume("/dev/sda3", "xfs", never, lambda path: None, problem="XFS v5")
    good = volume({GRUB2: CASES["grub2-plain"][1]}, "/dev/sda4")
    answer = choose([unknown, swap, broken, good, unknown])
    assert isinstance(answer, Pick)
    assert answer.volume == "/dev/sda4"
    assert [miss.known for miss in answer.misses] == [False, True, True]
    assert answer.misses[2].reason == "XFS v5"


def test_a_timeout_that_is_no_number_needs_quiet() -> None:
    def pick(case: str) -> Pick:
        path, content = CASES[case]
        answer = choose([volume({path: content})])
        assert isinstance(answer, Pick)
        return answer

    assert "`${menu_show_once_timeout}` is no number" in pick("fedora41-nobls.grub.cfg").needs_quiet
    assert pick("ubuntu2404.grub.cfg").needs_quiet == ""
    assert pick("hardy.menu.lst").needs_quiet == ""
