"""A guest with a secret in every place that may hold one. Each secret is a canary: CANARYn."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit import trees
from tests.unit.building import DEFAULTS_TEXT, VERSION, entry, grub_cfg

CANARY = re.compile(rb"CANARY\d+")
ARGS = (
    "root=/dev/sda1 ro quiet ip=dhcp rd.luks.key=@ systemd.set_credential=passwd.root:@ "
    'systemd.set_credential_binary="a:@ @" '
    '\\"rd.iscsi.password=@ @\\" netroot=iscsi:me:@@10.0.0.1::::x'
    " root2=cifs://me:@@server/share cifspass=@ ds=nocloud;s=http://host/seed?token=@ rootpw=@"
)  # fmt: skip
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\n@\n@\n-----END OPENSSH PRIVATE KEY-----\n"

# By path; `@` becomes a canary, a number of its own; `@@` one with an `@` behind it.
SECRETS = {
    "etc/shadow": "root:@:19000:0:99999:7:::\n",
    "etc/ssh/ssh_host_ed25519_key": PEM,
    "root/.ssh/id_rsa": PEM,
    "root/.ssh/authorized_keys": "ssh-rsa AAAA@ me\n",
    "etc/crypttab": (
        "# sda5_crypt UUID=1 /old/@\nsda5_crypt /dev/sda5 /etc/keys/@ luks,password-echo=no\n"
        "b UUID=9f2b1c3a-7a51-4b8e-9a3c-1b0f6d1e7c55 none luks\n"
    ),
    "etc/keys/x.key": "@\n",
    "etc/fstab": (
        "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n"
        "//s/share /mnt cifs username=me,password=@,@,uid=0 0 0\n"
        "//s/share /mnt cifs user=me%@,credentials=/root/@,pass=@ 0 0\n"
        "mon:/ /ceph ceph name=admin,secret=@,secretfile=/etc/@ 0 0\n"
        "http\\://me:@@host/dav /dav davfs defaults 0 0\n"
    ),
    "etc/auto.nas": (
        "nas -fstype=cifs,user=me,pass=@,password=@ ://s/nas\n"
        "d -user=me:@ :/dev/sda5\n"
    ),
    "etc/systemd/system/mnt.mount": (
        "[Mount]\nWhat=/dev/sda1\nWhere=/mnt\nOptions=username=me,password=@\n"
    ),
    "etc/default/grub": DEFAULTS_TEXT + f'GRUB_CMDLINE_LINUX="{ARGS}"\nGRUB_PASSWORD=@\n',
    "boot/grub/grub.cfg": (
        'set superusers="root"\npassword_pbkdf2 root grub.pbkdf2.sha512.10000.@.@\n'
        "\tpassword root @\n" + grub_cfg(entry(args=ARGS))
    ),
    "boot/grub/menu.lst": f"password --md5 @\ntitle x\nkernel /vmlinuz {ARGS}\npassword @\n",
    "boot/extlinux/extlinux.conf": (
        f"MENU MASTER PASSWD @\nLABEL x\n  MENU PASSWD @\n  APPEND {ARGS}\n"
    ),
    "etc/kernel/cmdline": f"{ARGS}\n",
    "etc/NetworkManager/system-connections/cafe": (
        "[connection]\nid=cafe\n[wifi]\nssid=cafe\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=@\n"
        "wep-key0=@\n[802-1x]\npassword=@ @\nprivate-key=/x/@\nprivate-key-password=@\n"
        "[vpn]\nuser-name=me\n[vpn-secrets]\npassword=@\n[wireguard]\nprivate-key=@\n"
        "[wireguard-peer.x]\npreshared-key=@\n[gsm]\npin=@\n[proxy]\npac-url=http://me:@@h/\n"
    ),
    "etc/netplan/50.yaml": (
        "network:\n  version: 2\n  ethernets:\n    ens3:\n"
        "      match: {macaddress: '00:16:3e:12:34:56'}\n"
        "      addresses:\n      - 10.0.0.2/24\n"
        "      dhcp4: true\n      auth:\n"
        "        password: \"@ @\"\n        client-key-password: |\n          @\n          @\n"
        "  wifis:\n    wlan0:\n      access-points:\n        \"cafe\": {password: \"@\"}\n"
        "        \"b\":\n          password: @\n"
        "        c: {auth: {password: '@ @',\n          psk: @}}\n"
        "  tunnels:\n    wg0:\n      keys:\n        private: @\n      key: @\n"
    ),
    "etc/network/interfaces": (
        "auto ens3\niface ens3 inet dhcp\n  wpa-ssid cafe\n  wpa-psk @\n  wireless-key1 s:@\n"
        "  post-up curl -u me:@ \\\n    http://x/@\n  address 10.0.0.2\n"
    ),
    "etc/network/interfaces.d/wlan": "iface wlan0 inet dhcp\n  wpa-passphrase @ @\n",
    "etc/sysconfig/network-scripts/ifcfg-eth0": (
        "DEVICE=eth0\nHWADDR=00:16:3E:12:34:56\nKEY=@\nKEY_PASSPHRASE1='@ @'\n"
        "IEEE_8021X_PASSWORD=\"@\n@\"\nWPA_PSK=@\n"
    ),
    "etc/sysconfig/network/ifcfg-wlan0": "WIRELESS_KEY_0='s:@'\nWIRELESS_WPA_PSK='@'\n",
    "etc/wicked/ifconfig/w.xml": (
        "<interface><name>wlan0</name><wireless><wpa-psk><passphrase>@</passphrase></wpa-psk>\n"
        "<wep-key>\n@\n</wep-key><client-key-passwd><![CDATA[@]]></client-key-passwd>\n"
        "</wireless></interface>\n"
    ),
    "etc/yum.repos.d/x.repo": (
        "[x]\nbaseurl=https://me:@@host/x?auth=@\nusername=@\npassword=@\n  @\nproxy_password = @\n"
        "proxy=http://me:@@p/\nsslclientkey=/etc/pki/@\n"
    ),
    "etc/apt/apt.conf.d/proxy": 'Acquire::http::Proxy "http://me:@@proxy:3128/";\n',
    "etc/cron.d/backup": "1 1 * * * root mysqldump -p@ > /dev/sda5\n",
    "etc/rc.local": "#!/bin/sh\nblockdev --setra 1 /dev/sda; mount -o x=@ /dev/sda5 /mnt\n",
    "etc/modprobe.d/x.conf": "options x password=@ key=@\nalias scsi_hostadapter ata_piix\n",
    "etc/initramfs-tools/conf.d/cryptroot": "target=a,source=/dev/sda5,key=/x/@,rootdev\n",
    "etc/udev/rules.d/99-x.rules": 'RUN+="/bin/x --password=@ http://me:@@h/"\n',
    "var/cache/debconf/config.dat": (
        "Name: grub-pc/install_devices\nTemplate: x\nValue: /dev/sda\n\nName: x/pw\nValue: @\n\n"
    ),
    "var/lib/cloud/instance/user-data.txt": "#cloud-config\npassword: @\n",
    "boot/loader/entries/x.conf": f"title x\nlinux /vmlinuz-{VERSION}\noptions {ARGS}\n",
}  # fmt: skip


def planted() -> dict[str, str]:
    """The files with their canaries, each of which is a number of its own."""
    count = 0
    found = {}
    for path, text in SECRETS.items():
        parts = re.split(r"@", text.replace("@@", "@\1"))
        whole = parts[0]
        for part in parts[1:]:
            count += 1
            whole += f"CANARY{count}{part}"
        found[path] = whole.replace("\1", "@")
    return found


def tree(root: Path) -> Path:
    """A small Debian tree with all of them."""
    return trees.make(root, planted())
