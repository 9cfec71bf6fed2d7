"""Boot menus and disks by the thousand: the same seed gives the same ones.

Half of the menus are put together from what grub-mkconfig, update-grub, anaconda, YaST and people
write; the other half are files of distributions with lines that were moved, lost or spoilt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.unit.pygrub_cases.compare import CASES, EXTLINUX, GRUB2, LEGACY, path_of
from tests.unit.pygrub_cases.disks import KERNELS, Part

_TITLES = ("Debian GNU/Linux", "Debian GNU/Linux, with Linux 6.1.0-9-amd64 (recovery mode)", "A",
           "Fedora Linux (6.8.5-301.fc40.x86_64) 40", "Größe ☃", "it's", "", "Windows Boot Manager",
           "openSUSE Leap 15.6, with Xen hypervisor", "{", "a\" b")  # fmt: skip
_PATHS = ("/vmlinuz", "/boot/vmlinuz-6.1.0-9-amd64", "/vmlinuz-5.14.0-427.el9.x86_64", "vmlinuz",
          "(hd0,1)/boot/vmlinuz", "(hd0,msdos1)/vmlinuz", "($root)/vmlinuz", '"/vmlinuz"', "//k",
          "/@/boot/vmlinuz", "(hd0", "(cd)/k", "(hd0,gpt2)/vmlinuz")  # fmt: skip
_ARGS = ("", "ro", "root=UUID=1-2 ro quiet", "root=/dev/xvda1 ro console=hvc0", "a=b=c", "\tro",
         "$kernelopts $tuned_params", "dyndbg=\"file a +p\"", "root=LABEL=é  quiet ", "ro # no",
         "ro \\")  # fmt: skip
_INITRDS = ("/initrd", "/boot/initrd.img-6.1.0-9-amd64", "/ucode.img /initrd", "(hd0,1)/initrd", "",
            "($root)/initrd", "/initrd $tuned_initrd", "(hd1)/i")  # fmt: skip
_ROOTS = ("hd0", "'hd0,msdos1'", '"hd0,gpt2"', "hd0,1", "'lvmid/a/b'", "mduuid/1", "(hd0,0)", "cd0",
          "'xen/xvda,gpt1'", "/dev/xvda", "ahci0,gpt1", "hd0,1,2", "hd0,msdos", "")  # fmt: skip
_DEFAULTS = ("0", '"0"', "1", '"2"', "'1'", '"${saved_entry}"', "saved", '"${next_entry}"', "9",
             "'1>0'", "Debian", "-1", "+1", "", '"1" # why', "0_1", "1=2", " 1")  # fmt: skip
_TIMEOUTS = ("5", "-1", "0", '"${menu_show_once_timeout}"', "", "5 5", "a=b")
_OUTSIDE = ("load_env", "insmod part_msdos", "if [ -s $prefix/grubenv ]; then", "fi", "else", "",
            "function gfxmode {\nset gfxpayload=\"${1}\"\n}", "set have_grubenv=true", "# comment",
            "function savedefault {\nif x; then\nsave_env a=b=c\nfi\n}", "terminal_output console",
            'set kernelopts="root=UUID=1 ro"', 'kernelopts="root=UUID=1 ro"', "export linux_gfx",
            "### BEGIN /etc/grub.d/10_linux ###", "set", "set x", "blscfg", "}", "unset x",
            "search --no-floppy --fs-uuid --set=root 1-2", "set theme=($root)/x")  # fmt: skip
_INSIDE = ("load_video", "insmod gzio", "set gfxpayload=keep", "echo 'Loading ...'", "savedefault",
           "if [ x = y ]; then insmod xzio; fi", "search --set=root 1", "set a=b=c",
           "chainloader +1",
           "multiboot2 /xen.gz placeholder", "module2 /vmlinuz ro", "fwsetup", "# linux /x", "{",
           "submenu", "recordfail")  # fmt: skip
_ENDS = ("\n", "\n", "\n", "\n", "\r\n", "\n\t", " \n")
_SPOILT = ("", " ", "\t", "=", "'", '"', "{", "}", "(", ")", "#", "\\", "a=b", "\u00a0", "é",
           "\0", "\r", "\x0b", "9", "set ", "menuentry ", "title ", "label ", "linux ",
           "---")  # fmt: skip


def menus(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Paths and contents: as many menus as are asked for."""
    source = random.Random(seed)
    kinds = (_grub2, _grub2, _legacy, _extlinux)
    shipped = [
        (path_of(path.name), path.read_text())
        for path in sorted(CASES.iterdir())
        if path.suffix in (".cfg", ".lst", ".conf")
    ]
    for number in range(count):
        if number % 2:
            path, text = source.choice(shipped)
            yield path, _spoilt(source, text).encode("utf-8", "surrogateescape")
        else:
            path, text = source.choice(kinds)(source)
            yield path, text.replace("\n", source.choice(_ENDS)).encode()


def disks(seed: int, count: int) -> Iterator[tuple[str, list[Part]]]:
    """A kind of table and partitions: as many disks as are asked for."""
    source = random.Random(seed)
    for _ in range(count):
        table = source.choice(("", "dos", "dos", "dos", "gpt", "gpt"))
        if not table:
            yield table, [_part(source, 0, table)]
            continue
        most = 4 if table == "dos" else 9
        numbers = source.sample(range(1, most + 1), source.randint(1, 3))
        parts = [_part(source, number, table) for number in numbers]
        if table == "dos" and source.random() < 0.2:
            free = next(number for number in range(1, 5) if number not in numbers)
            parts = [*parts[:2], Part(None, free, "5"), _part(source, 5, table)]
        yield table, parts


def _part(source: random.Random, number: int, table: str) -> Part:
    kinds = ("83", "83", "83", "82", "bf", "8e", "c", "da")
    kind = source.choice(kinds) if table == "dos" else "83"
    if source.random() < 0.15:
        return Part(None, number, kind)
    files: dict[str, bytes | str] = {"etc/fstab": b""}
    for _ in range(source.choice((0, 1, 1, 1, 2))):
        made = source.choice((_grub2, _grub2, _legacy, _extlinux))
        path, text = made(source)
        directory = source.choice(("", "", "boot"))
        path = path.replace("/boot", directory) if path != EXTLINUX else path
        if source.random() < 0.6:  # most name what is there
            text = _GOOD[made]
        files[path.lstrip("/")] = text.encode()
    for name, content in KERNELS.items():
        if source.random() < 0.85:
            files[name] = content
    if source.random() < 0.15:
        files["vmlinuz"] = source.choice(("boot/real", "gone", "/etc/fstab"))
        files["boot/real"] = b"linked"
    fstype = source.choice(("ext2", "ext3", "ext4"))
    return Part(files, number, kind, source.random() < 0.2, fstype)


def _grub2(source: random.Random) -> tuple[str, str]:
    """A grub.cfg: most lines as they are generated, some of them wrong."""
    pick = source.choice
    lines = [pick(_OUTSIDE[:12]) for _ in range(source.randint(0, 3))]
    if source.random() < 0.8:
        lines.append(f"set default={pick(_DEFAULTS)}")
    if source.random() < 0.5:
        lines.append(f"set timeout={pick(_TIMEOUTS)}")
    depth = 0
    for _ in range(source.randint(0, 6)):
        if source.random() < 0.2:
            lines.append(f"submenu '{pick(_TITLES[:5])}' $menuentry_id_option 'x' {{")
            depth += 1
        lines += _menuentry(source)
        if depth and source.random() < 0.5:
            lines.append("}")
            depth -= 1
        if source.random() < 0.2:
            lines.append(pick(_OUTSIDE))
    lines += ["}"] * (depth if source.random() < 0.9 else 0)
    if source.random() < 0.1:
        lines.append(f"set default={pick(_DEFAULTS)}")
    return GRUB2, "\n".join([*lines, ""])


def _menuentry(source: random.Random) -> list[str]:
    pick = source.choice
    quote = pick("''''\"")
    open_ = pick((" {", " {", " {", " --class os $menuentry_id_option 'y' {", "{", "\t{", ""))
    body = [pick(_INSIDE[:6]) for _ in range(source.randint(0, 3))]
    if source.random() < 0.4:
        body.append(f"set root={pick(_ROOTS[:4] if source.random() < 0.7 else _ROOTS)}")
    if source.random() < 0.9:
        blank = pick((" ", " ", "\t", "  ", "="))
        command = pick(("linux", "linux", "linux", "linux16", "linuxefi"))
        body.append(f"{command}{blank}{_mostly(source, _PATHS)} {_mostly(source, _ARGS, 4)}")
        body.append(f"{pick(('initrd', 'initrd', 'initrd16'))} {_mostly(source, _INITRDS, 2)}")
    if source.random() < 0.15:
        body.insert(source.randint(0, len(body)), pick(_INSIDE))
    title = _mostly(source, _TITLES, 4)
    end = ["}"] if source.random() < 0.97 else []
    return [f"menuentry {quote}{title}{quote}{open_}", *(f"\t{line}" for line in body), *end]


def _mostly(source: random.Random, words: Sequence[str], good: int = 3) -> str:
    """One of the first words, seldom one of the others."""
    return source.choice(words[:good] if source.random() < 0.8 else words)


def _legacy(source: random.Random) -> tuple[str, str]:
    """A menu.lst, or a grub.conf as Red Hat calls it."""
    pick = source.choice
    lines = []
    if source.random() < 0.8:
        lines.append(f"default{pick(' =')}{pick(_DEFAULTS)}")
    lines += [pick(("timeout 5", "timeout=10", "hiddenmenu", "color a/b c/d",
                    "# kopt=root=/dev/sda1",
                    "splashimage=(hd0,0)/grub/splash.xpm.gz", "password --md5 $1$x", "fallback 1",
                    "splashimage (cd)/x", "gfxmenu (hd0,1)/boot/message", "##YaST - activate"))
              for _ in range(source.randint(0, 3))]  # fmt: skip
    for _ in range(source.randint(0, 5)):
        blank = pick((" ", "\t\t", "\t", "="))
        lines.append(f"{pick(('title', 'title', 'title', 'title', 'titel'))}{blank}{pick(_TITLES)}")
        root = pick(("(hd0,0)", "(hd0,0)", "(hd1,4)", "(hd0,1,a)", "(nd)", "", "hd0"))
        body = [f"root{blank}{root}"] if source.random() < 0.6 else []
        kernel = pick(("kernel", "kernel", "kernel", "kernel --no-mem-option"))
        body.append(f"{kernel}{blank}{_mostly(source, _PATHS)} {_mostly(source, _ARGS, 4)}")
        body += [f"initrd{blank}{_mostly(source, _INITRDS, 2)}"] if source.random() < 0.8 else []
        more = ("savedefault", "boot", "quiet", "lock", "module /vmlinuz ro", "rootnoverify (hd0)",
                "chainloader +1", "uuid 1b0f", "makeactive", "initrd")  # fmt: skip
        body += [pick(more)] if source.random() < 0.4 else []
        lines += body if source.random() < 0.93 else []
    return source.choice((LEGACY, "/boot/grub/grub.conf")), "\n".join([*lines, ""])


def _extlinux(source: random.Random) -> tuple[str, str]:
    """An extlinux.conf."""
    pick = source.choice
    labels = ("l0", "linux", "xen", "l0r", '"a b"', "")
    lines = [f"default {pick(labels)}"] if source.random() < 0.7 else []
    lines += [pick(("timeout 50", "prompt 0", "ui menu.c32", "menu title x", "serial 0 9600"))]
    for _ in range(source.randint(0, 4)):
        word = str if source.random() < 0.6 else str.upper
        kernel = pick((*_PATHS[:4], "mboot.c32", "/boot/mboot.c32", "menu.c32", '"/vmlinuz"'))
        append = pick((f"initrd={pick(_INITRDS)} {pick(_ARGS)}", pick(_ARGS),
                       "Initrd=/i initrd=/j", "/xen.gz --- /vmlinuz ro --- /initrd",
                       "/vmlinuz ro --- /initrd"))  # fmt: skip
        body = [f"{word('kernel')} {kernel}", f"\t{word('append')} {append}"]
        if source.random() < 0.1:
            body.reverse()
        if source.random() < 0.2:
            body.append(pick(("initrd /initrd", "linux /vmlinuz", "menu label x", "fdt /x", "# x")))
        lines += [f"{word('label')} {pick(labels)}", *body]
    return EXTLINUX, "\n".join([*lines, ""])


_GOOD = {
    _grub2: "menuentry 'A' {\n\tlinux /vmlinuz root=/dev/xvda1 ro\n\tinitrd /initrd\n}\n",
    _legacy: "default 0\ntitle A\nroot (hd0,0)\nkernel /vmlinuz ro\ninitrd /initrd\n",
    _extlinux: "label l0\nkernel /vmlinuz\nappend initrd=/initrd ro\n",
}


def _spoilt(source: random.Random, text: str) -> str:
    """The same with a few accidents."""
    lines = text.split("\n")
    for _ in range(source.randint(0, 5)):
        at = source.randrange(len(lines))
        line = lines[at]
        place = source.randint(0, len(line))
        what = source.randrange(7)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(at, source.choice(lines))
        elif what == 2:
            lines.insert(at, f"set default={source.choice(_DEFAULTS)}")
        elif what == 3:
            lines[at] = line[:place] + source.choice(_SPOILT) + line[place:]
        elif what == 4:
            lines[at] = line[:place] + line[place + source.randint(1, 4) :]
        elif what == 5:
            lines.insert(at, source.choice(_OUTSIDE + _INSIDE))
        else:
            other = source.randrange(len(lines))
            lines[at], lines[other] = lines[other], line
        lines = lines or [""]
    return "\n".join(lines)
