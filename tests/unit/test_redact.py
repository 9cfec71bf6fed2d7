"""Secrets are taken out; all else stays where it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.canaries import CANARY, planted

from pvprep import redact

PLANTED = planted()


@pytest.mark.parametrize("path", PLANTED)
def test_no_secret_stays_in_a_file(path: str) -> None:
    content = PLANTED[path].encode()
    assert CANARY.search(content)
    kept = redact.file(f"/{path}", content)
    if kept is not None:
        assert not CANARY.search(kept), kept.decode()
        assert kept.count(b"\n") == content.count(b"\n"), "every line keeps its number"
        assert redact.file(f"/{path}", kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "Fehler: http://me:s3cr3t@proxy.example/: timeout",
        "  | Get:1 https://deb.example/?token=s3cr3t InRelease",
        "root:$6$saltsalt$s3cr3t.xyzabcdefgh:19000",
        "  found: password --md5 s3cr3t",
        "+\tpassword_pbkdf2 root s3cr3t",
        "-GRUB_CMDLINE_LINUX=\"quiet rd.luks.key=s3cr3t ro\"",
        "\"systemd.set_credential=a:x s3cr3t\" quiet",
        "'passphrase=x s3cr3t' ro",
        '{"psk": "x s3cr3t", "ssid": "cafe"}',
        "rbd:pool/disk:id=me:key=s3cr3t:mon_host=x",
        "- wpa-psk s3cr3t",
        "Authorization: Basic s3cr3t",
        "12:00:00   | export HTTP_TOKEN=s3cr3t x",
        'password="s3cr3t\ns3cr3t"',
        "secret: |\n  s3cr3t\n\n  s3cr3t",
        "password=a \\\n s3cr3t",
        "psk=\x85s3cr3t\u2028s3cr3t",
        "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\ns3cr3t",
    ],
)  # fmt: skip
def test_no_secret_stays_in_any_text(text: str) -> None:
    found = redact.text(text)
    assert "s3cr3t" not in found
    assert redact.GONE in found


@pytest.mark.parametrize(
    "text",
    [
        "/etc/fstab:3 /dev/sda1 -> /dev/xvda1",
        "root=UUID=9f2b1c3a-7a51-4b8e-9a3c-1b0f6d1e7c55 ro ip=dhcp console=hvc0 keymap=de",
        "HWADDR=00:16:3E:12:34:56",
        "deb http://archive.example/debian bookworm main",
        "BOOTPROTO=dhcp\n  ONBOOT=yes\n",
        "kernel: 6.1.0-28-amd64 boots PV and PVH",
        "passno 1",
        "menuentry 'x' { linux /vmlinuz quiet }",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact.text(text) == text


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/crypttab", "sda5_crypt UUID=9f2b1c3a none luks,discard\n"),
        ("/etc/netplan/1.yaml", "      macaddress: '00:16:3e:12:34:56'\n"),
        ("/etc/netplan/1.yaml", "      - 10.0.0.2/24\n"),
        ("/etc/network/interfaces", "iface ens3 inet static\n  address 10.0.0.2\n"),
        ("/etc/sysconfig/network-scripts/ifcfg-eth0", "HWADDR=00:16:3E:12:34:56\nTYPE=Ethernet\n"),
        ("/etc/NetworkManager/system-connections/x", "[ethernet]\nmac-address=00:16:3E:12:34:56\n"),
        ("/etc/fstab", "/dev/sda1 / ext4 errors=remount-ro,usrquota 0 1\r\n"),
    ],
)
def test_names_and_addresses_stay(path: str, line: str) -> None:
    assert redact.file(path, line.encode()) == line.encode()


@given(st.text(st.sampled_from("pskword=: \"'\\\n\t{}@/-#|"), max_size=60))
def test_lines_keep_their_number_and_a_second_time_changes_nothing(text: str) -> None:
    once = redact.text(text)
    assert once.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "piece", ["a", "a=", "://", "password=", '"', "\\", "key: ", "x.", " ", "$6$", "- ", "user="]
)
def test_a_long_line_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    redact.text(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 5
