"""Secrets taken out of text that people pass on: the log, diffs, findings, the bundle for a report.

Lines stay where they are, only values go, so that `/etc/fstab:3` still means line 3. In doubt too
much goes: what is of use here are device names, UUIDs and MAC addresses, and those stay. Each kind
of file that may hold secrets in a form of its own has a rule in RULES; what any text may hold
(URLs, hashes, keys, kernel arguments) is found everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Optional

GONE = "(redacted)"

# Names whose value is a secret: a part of the name, or the whole of it. They come from
# kernel-command-line(7), dracut.cmdline(7), mount.cifs(8), mount.ceph(8), nm-settings-keyfile(5),
# ifcfg(5), yum.conf(5), systemd.exec(5).
SECRET = re.compile(
    r"passw(?:or)?d|passphrase|secret|psk|private[_-]?key|w(?:ep|ireless)[_-]?(?:\w+[_-])?key"
    r"|token|api[_-]?key|auth[_-]?key|credential|luks[._]key|cryptkey|rootpw|authorization"
    r"|\A(?:cifs)?pass\Z|\Acred\Z|\Akey\d?\Z|\Akeyfile\Z|\Apw\Z|\Apin\Z|\Auser-data\Z|\Acookie\Z",
    re.I,
)
# The look-behind keeps a long word from being tried at each of its letters.
NAMED = re.compile(r"""(?<![\w.-])(?P<name>[\w.-]+)(?P<close>["']?)[ \t]{0,8}[=:]""")
# A value as a shell or GRUB reads it; a quote that nothing closes belongs to what is around it.
VALUE = re.compile(
    r"""(?:\\"[^"\\]*\\"|\\'[^'\\]*\\'|\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\])*"""
)
# What comes before the first word of a line: of a diff, a comment, a list, `sh`, our own screen.
HEAD = r"""\A(?:\d\d:\d\d:\d\d )?(?:.{0,60}?(?:found: |\| ))?[-+\s#{,"']*(?:export\s+)?"""
STARTS_NAMED = re.compile(HEAD + r"""(?P<name>\w[\w.-]*)["']?\s*[=:](?P<value>.*)\Z""", re.S)
STARTS_WORD = re.compile(
    HEAD + r"(?P<name>password(?:_pbkdf2)?|menu\s+(?:master\s+)?passwd|wpa-psk|wpa-passphrase"
    r"|wpa-password|wpa-private-key-passwd|wireless-key\d?)\s+(?P<value>\S.*)\Z",
    re.I | re.S,
)
ANYWHERE = (
    (re.compile(r"(\buser(?:name)?=[^\s,%=\"']*)%[^\s\"']+"), rf"\1%{GONE}"),  # mount.cifs(8)
    (re.compile(r":(key|password)=[^\s:\"']+"), rf":\1={GONE}"),  # QEMU's rbd:
    (re.compile(r"\$(?:\d[abxy]?|y|gy|md5|sha1|argon2\w*)\$[\w./$=,+-]{8,}"), GONE),  # crypt(5)
    (re.compile(r"grub\.pbkdf2\.[\w.]+"), GONE),
    (re.compile(r"\b(ssh-\w+|ecdsa-sha2-[\w-]+|sk-[\w@.-]+) +AAAA[\w+/=]+"), rf"\1 {GONE}"),
)
TOKEN = re.compile(r"[^\s\"'<>]+")
BLANKS = re.compile(r"[ \t]*")
PEM = re.compile(r"-----(?P<what>BEGIN|END) [A-Z0-9 ]*PRIVATE KEY")

Rule = Callable[[str], str]


def line(text: str) -> str:
    """One line of any text, without the secrets that it shows to be such."""
    found = STARTS_WORD.match(text) or STARTS_NAMED.match(text)
    if found and found["value"].strip() and _is_secret(found["name"]):
        return text[: found.start("value")] + _blank(found["value"])
    text = TOKEN.sub(_url, _named(text))
    for pattern, instead in ANYWHERE:
        text = pattern.sub(instead, text)
    return text


def text(whole: str) -> str:
    """Many lines: also what a line with a secret goes on to, and keys in PEM."""
    return _lines(whole, line)


def file(path: str, content: bytes) -> Optional[bytes]:
    """The content of the guest's file at this path; None for what is kept back altogether."""
    rule = next((rule for pattern, rule in RULES if fnmatchcase(path, pattern)), text)
    if rule is None or b"\0" in content:
        return None
    return rule(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def data(value: Any) -> Any:
    """Texts anywhere in what JSON can hold; what stands under the name of a secret goes."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {
            text(str(key)): GONE if one and _is_secret(str(key)) else data(one)
            for key, one in value.items()
        }
    return [data(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_secret(name: str) -> bool:
    return SECRET.search(name) is not None


def _blank(value: str) -> str:
    """The value's own end of line stays; what opens a block (`|`, `{`) need not."""
    space = value[: len(value) - len(value.lstrip())]
    end = value[len(value.rstrip("\r")) :]
    return f"{space}{GONE}{end}"


def _named(text: str) -> str:
    """Values of secret names in the middle of a line."""
    done, end = [], 0
    for found in NAMED.finditer(text):
        if found.start() < end or not _is_secret(found["name"]):
            continue
        before = text[found.start() - 1 : found.start()]
        blanks = BLANKS.match(text, found.end())
        start = blanks.end() if blanks else found.end()
        if before in ("'", '"') and before and not found["close"]:
            stop = text.find(before, start)  # "name=a value": all up to that quote
            stop = len(text) if stop < 0 else stop
        else:
            matched = VALUE.match(text, start)
            stop = matched.end() if matched else len(text)
        if stop > start:
            done += [text[end:start], GONE]
            end = stop
    return "".join([*done, text[end:]])


def _split(whole: str) -> list[str]:
    """At line feeds alone: what else Unicode calls the end of a line may stand in a secret."""
    return whole.split("\n")


def _url(token: re.Match[str]) -> str:
    """What stands before a URL's host and behind its `?`; iscsi: as dracut.cmdline(7) has it."""
    before, mark, rest = token[0].partition("://")
    if not mark:
        before, mark, rest = token[0].partition("root=iscsi:")
    if not mark:
        return token[0]
    user, at, host = rest.rpartition("@")
    place, question, query = host.partition("?")
    gone = GONE if query and query != GONE else query
    return f"{before}{mark}{GONE if user else ''}{at}{place}{question}{gone}"


def _lines(whole: str, rule: Rule) -> str:
    """Each line by a rule; what belongs to a secret above it goes as a whole."""
    result: list[str] = []
    deeper: Optional[int] = None  # a secret's line: what is indented more belongs to it
    goes_on = False
    quote = ""
    pem = False
    for one in _split(whole):
        mark = PEM.search(one)
        pem = pem or bool(mark and mark["what"] == "BEGIN")
        bare = one.strip()
        indent = len(one) - len(one.lstrip())
        if deeper is not None and bare and indent <= deeper:
            deeper = None
        if pem or quote or goes_on or (deeper is not None and bare):
            result.append(_blank(one))
            if quote and quote in one:
                quote = ""
            goes_on = goes_on and one.rstrip("\r").endswith("\\")
        else:
            new = rule(one)
            result.append(new)
            if new != one:
                deeper, goes_on, quote = _tail(one, indent)
        if mark and mark["what"] == "END":
            pem = False
    return "\n".join(result)


def _tail(one: str, indent: int) -> tuple[Optional[int], bool, str]:
    """How a line with a secret may go on: by indentation, a backslash, an open quote."""
    found = STARTS_NAMED.match(one)
    secret = found is not None and _is_secret(found["name"])
    value = found["value"].strip() if found else ""
    opened = value[:1] if secret and value[:1] in ("'", '"') and value.count(value[0]) == 1 else ""
    return (indent if secret else None), one.rstrip("\r").endswith("\\"), opened


def _by_line(rule: Rule) -> Rule:
    return lambda whole: _lines(whole, lambda one: line(rule(one)))


def _crypttab(one: str) -> str:
    """crypttab(5): the third field is a key, or the place of one."""
    one = re.sub(r"(?<=\s)/(?!dev/)\S+", GONE, one)
    fields = re.split(r"(\s+)", one.lstrip())
    known = ("", "none", "-", "/dev/urandom", "/dev/random")
    if len(fields) > 4 and fields[4] not in known:
        fields[4] = GONE
    return one[: len(one) - len(one.lstrip())] + "".join(fields)


def _mount(one: str) -> str:
    """Options of mount: a password may hold anything but white space."""
    names = r"pass|passwd|password\d?|cred|credentials|secret|secretfile|key|keyfile|passphrase"
    one = re.sub(rf"(?i)(?<!\w)({names})=[^\s\"']+", rf"\1={GONE}", one)
    return re.sub(r"(?<!\w)(user|username)=([^\s,:]+):[^\s,]+", rf"\1=\2:{GONE}", one)


def _variable(one: str) -> str:
    """ifcfg files: variables of sh, with names as of WPA_PSK, KEY_1, IEEE_8021X_PASSWORD."""
    return re.sub(
        r"(?i)\A(\s*#?\s*(?:export\s+)?\w*(?:KEY|PSK|PASS|SECRET|PIN|TOKEN)\w*=)[^\r\n]+",
        rf"\1{GONE}", one,
    )  # fmt: skip


# interfaces(5): what is about names and addresses; commands and wireless keys are not.
STANZAS = re.compile(
    r"auto|allow-\S+|iface|mapping|source\S*|inherits|address|netmask|gateway|hwaddress|network"
    r"|broadcast|mtu|metric|scope|dns-\S+|bridge[-_]\S+|bond[-_]\S+|vlan[-_]\S+|no-\S+|rename"
    r"|accept_ra|autoconf|pointopoint|template|#+"
)


def _interfaces(one: str) -> str:
    words = one.split(None, 1)
    if len(words) < 2 or STANZAS.fullmatch(words[0]):
        return one
    return one[: one.index(words[0]) + len(words[0])] + _blank(" " + words[1])


# netplan(5): what is about names and addresses.
NETPLAN = re.compile(
    r"network|version|renderer|ethernets|wifis|bridges|bonds|vlans|tunnels|vrfs|match|macaddress"
    r"|name|driver|set-name|dhcp[46]|dhcp[46]-overrides|addresses|gateway[46]|nameservers|search"
    r"|routes|to|via|metric|mtu|optional|interfaces|parameters|id|link|accept-ra|link-local"
    r"|wakeonlan|dhcp-identifier|mode|critical|[a-z]{2,5}\d\w*"
)


def _netplan(one: str) -> str:
    """A value stays under a known name only, and so does a list of addresses."""
    found = re.fullmatch(r"""(\s*(?:- )?["']?)([^\s"':#]+)(["']?\s*:)(\s*)(.*)""", one.rstrip())
    end = one[len(one.rstrip()) :]
    if not one.strip() or one.strip() in ("---", "..."):
        return one
    if found is None:
        listed = re.fullmatch(r"""\s*- ["']?[0-9A-Fa-f:.]+(?:/\d+)?["']?""", one.rstrip())
        return one if listed else f"{one[: len(one) - len(one.lstrip())]}{GONE}{end}"
    head, name, colon, space, value = found.groups()
    flow = re.search(r"[{}|>&*!]", value)
    if value and (flow or not NETPLAN.fullmatch(name)):
        return f"{head}{name}{colon}{space}{GONE}{end}"
    return one


def _keyfile(whole: str) -> str:
    """nm-settings-keyfile(5): in sections of secrets no value stays."""
    secret = re.compile(
        r"\[\s*(?:.*security|802-1x|vpn.*|wireguard.*|gsm|cdma|ppp.*|adsl|.*secrets.*)\s*\]", re.I
    )
    result, inside = [], False
    for one in _split(whole):
        if one.lstrip().startswith("["):
            inside = secret.match(one.strip()) is not None
        elif inside and "=" in one:
            name, _, value = one.partition("=")
            one = f"{name}={_blank(value)}"
        elif inside and one.strip():
            one = _blank(one)
        result.append(one)
    return text("\n".join(result))


# wicked(5): what is about names and addresses.
ELEMENTS = "name|address|mode|link-type|hwaddr|mac|enabled|local|gateway|mtu|essid"


def _xml(whole: str) -> str:
    def blank(found: re.Match[str]) -> str:
        kept = "\n" * found[2].count("\n")
        return f"{found[1]}{GONE}{kept}<" if found[2].strip() else found[0]

    texts = rf"(<(?!(?:{ELEMENTS})[\s>])[^<>/!?][^<>]*>)([^<]*)<"
    return text(re.sub(texts, blank, re.sub(r"<!\[CDATA\[.*?\]\]>", GONE, whole, flags=re.S)))


def _repository(one: str) -> str:
    """yum.conf(5): who pays for it is nobody's business either."""
    return re.sub(
        r"(?i)\A(\s*#?\s*(?:proxy_)?(?:username|password)\s*=)[^\r\n]+|\A(\s*sslclient\w+\s*=)[^\r\n]+",
        lambda found: f"{found[1] or found[2]} {GONE}", one,
    )  # fmt: skip


def _cryptroot(one: str) -> str:
    """initramfs-tools' old conf.d/cryptroot: target=...,source=...,key=..."""
    return re.sub(r"\b(key|keyscript|header)=[^\s,]+", rf"\1={GONE}", one)


# None: files that may hold a secret in any form (commands with passwords, answers, keys); that they
# are there is told, and what pvprep found in them is among the findings.
RULES: tuple[tuple[str, Optional[Rule]], ...] = (
    ("/etc/shadow*", None),
    ("/etc/gshadow*", None),
    ("/etc/ssh/*", None),
    ("*/.ssh/*", None),
    ("*.key", None),
    ("*.pem", None),
    ("/etc/cloud/*", None),
    ("/var/lib/cloud/*", None),
    ("/var/cache/debconf/*", None),
    ("/etc/cron*", None),
    ("/etc/rc.local", None),
    ("/etc/auto.*", _by_line(_mount)),
    ("*/crypttab", _by_line(_crypttab)),
    ("*/fstab*", _by_line(_mount)),
    ("*.mount", _by_line(_mount)),
    ("*/conf.d/cryptroot", _by_line(_cryptroot)),
    ("/etc/NetworkManager/*", _keyfile),
    ("/etc/netplan/*", _by_line(_netplan)),
    ("*/ifcfg-*", _by_line(_variable)),
    ("/etc/network/interfaces*", _by_line(_interfaces)),
    ("/etc/wicked/*", _xml),
    ("*.repo", _by_line(_repository)),
)

