"""Findings: what is wrong with a config, each with a stable id, and what the ids mean."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """An ERROR makes a config unsafe; a WARNING is for a person to weigh."""

    WARNING = "warn"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """id: a key of TOPICS. what: as it stands in the file. why: the danger. remedy: what to do.

    line: of the file, from 1; 0 for the file as a whole. key: of xl.cfg(5), with the sub-key.
    """

    id: str
    what: str
    why: str = ""
    remedy: str = ""
    line: int = 0
    key: str = ""
    level: Level = Level.ERROR


TOPICS = {
    "config.syntax": "xl cannot read the file, or reads it otherwise than it looks: it is not what "
    "pvprep writes. Nothing else was looked at.",
    "config.size": "No domain's config is that long.",
    "config.control": "A value has control characters, which a terminal or a script takes for "
    "something else.",
    "config.twice": "The key is there twice. xl takes the last one, a reader sees the first one.",
    "config.append": "`+=` adds to a value that stands elsewhere; in old releases of xl it is an "
    "error, and for numbers xl drops it.",
    "config.placeholder": "A value that only dom0 knows has not been filled in.",
    "value.type": "A list stands where xl wants a single value, or the other way round: xl ignores "
    "the key with a mere warning, and its default holds.",
    "value.number": "It is no plain decimal number. xl takes 010 for 8, and ignores what it cannot "
    "read.",
    "value.text": "The value is none of those that the key can have here.",
    "key.unknown": "The key is not on the list of harmless ones, and xl.cfg(5) does not have it: a "
    "slip, or something that another release of Xen knows.",
    "key.runs-code": "The key makes dom0 run a program, or gives arguments to one.",
    "key.reads-files": "The key makes dom0 open a file that the config names.",
    "key.hardware": "The key gives the guest hardware, or the right to serve or spy on others.",
    "key.exhausts": "The key lets the guest use up what dom0 and other guests need.",
    "key.exposes": "The key opens a screen, a port or a device of the guest to others.",
    "key.hvm": "The key is for fully virtualised guests, and starts or configures their device "
    "model; a PV guest has no use for it.",
    "key.not-needed": "The key is known and not on the list of harmless ones.",
    "name.missing": "xl does not start a domain without a name.",
    "name.form": "The name becomes part of paths and commands in dom0.",
    "name.policy": "The policy wants other names for domains.",
    "name.clash": "Another domain of that name runs.",
    "name.running": "The domain still runs, in its old form. Never run both: they write to the "
    "same disks. `pvprep-dom0 trial` changes from one to the other.",
    "name.not-its-own": "The guest is another domain's than the name says.",
    "uuid.form": "It is no UUID; it becomes part of paths in dom0.",
    "uuid.clash": "A running domain has that UUID.",
    "uuid.not-its-own": "The domain had another UUID until now.",
    "type.policy": "The policy allows other types of domains.",
    "memory.limit": "More memory than the policy allows and than the domain had.",
    "memory.missing": "Without `memory`, xl starts the domain with 32 MiB.",
    "vcpus.limit": "More virtual processors than the policy allows and than the domain had.",
    "boot.missing": "Without `kernel` and `bootloader` there is nothing to start; a boot loader in "
    "dom0 wants a disk to read.",
    "bootloader.policy": "The boot loader is a program that dom0 runs as root.",
    "bootloader.arguments": "pygrub writes files where its arguments say so.",
    "kernel.policy": "A kernel or initrd is a file that dom0 reads and gives to the guest: "
    "`/etc/shadow` would be one, too.",
    "action.policy": "What happens when the guest stops can fill dom0's disk (coredump-*) or its "
    "memory (rename-restart).",
    "disk.syntax": "xl cannot read the disk, or reads it otherwise in another release.",
    "disk.script": "A disk's script is a program that dom0 runs as root. So is what hides behind "
    "the prefixes iscsi:, nbd:, enbd: and drbd:.",
    "disk.option": "The sub-key is not on the list of harmless ones.",
    "disk.format": "A guest can write what the head of an image of another format says, such as "
    "the name of a backing file in dom0. So the format must be what it has always been.",
    "disk.target": "The target is neither a disk that the domain has had nor one that the policy "
    "allows.",
    "disk.missing": "The target does not exist (yet).",
    "disk.device": "The target is neither a block device nor a regular file.",
    "disk.in-use": "The disk is another domain's, or dom0's own.",
    "disk.vdev": "The virtual device is none that a PV guest can have, or is there twice.",
    "vif.syntax": "xl does not know the word, or takes it for something else.",
    "vif.script": "An interface's script is a program that dom0 runs as root.",
    "vif.option": "The sub-key is not on the list of harmless ones; some of them are arguments of "
    "dom0's scripts.",
    "vif.mac": "It is not the MAC address of one interface.",
    "vif.mac-clash": "The MAC address is another interface's.",
    "vif.bridge": "The bridge decides which network the guest is in. It is neither the domain's "
    "own nor one that the policy allows.",
    "vif.rate": "xl does not start a domain with such a rate.",
    "vfb.listen": "The screen can be seen and used from other machines.",
    "vfb.option": "The sub-key is not on the list of harmless ones.",
    "host.unknown": "xl did not tell which domains there are, so that nothing is known of clashes.",
}
