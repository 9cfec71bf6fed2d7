"""Stands for dom0's programs: xl, xenstore-read and LVM's, as far as a trial uses them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from pvprep_dom0.run import Done

UP = {
    "version": 1, "boot": "x", "as": "pv", "kernel": "6.1", "root": "/dev/xvda1",
    "network": ["ens3"], "console": "hvc0", "login": True, "up": True,
}  # fmt: skip


class Killed(BaseException):
    """What no program can catch: kill -9."""


class PretendRecorder:
    """Stands for a program that is recorded: it has printed all it will from the beginning."""

    def __init__(self, xen: PretendXen) -> None:
        self.xen = xen
        self.ended = False

    def over(self) -> bool:
        return self.ended or not self.xen.domains

    def end(self) -> None:
        self.ended = True


class PretendXen:
    """One domain, bifit, with one logical volume. report: what the PV guest says of its boot.

    kill_at: the point to be killed at; each program that is run and each file that is written has
    one before and one after. points: how many there were.
    """

    def __init__(self, report: Optional[dict[str, object]] = None, polls: int = 2) -> None:
        self.report = report
        self.domains: dict[str, tuple[int, str]] = {"bifit": (5, "hvm")}
        self.volumes = {"vg0/bifit-disk"}
        self.polls = polls  # so often it is asked before the guest has gone off or come up
        self.shuts_down = True
        self.creates = True
        self.dying = 1  # so often it is still there without its name
        self.fails = 0  # so often nothing can be started
        self.devices: dict[str, dict[str, int]] = {"vbd": {"51712": 3}, "vif": {"0": 3}}
        self.prints = b""  # on the PV domain's console
        self.recorders: list[PretendRecorder] = []
        self.calls: list[str] = []
        self.clock = 0.0
        self.kill_at = -1
        self.points = 0
        self.restored = 0
        self.mute: Callable[[str], bool] = lambda column: False  # what lvs does not tell
        self.open = 0  # so often the volume is still open
        self.attributes = "-"
        self._asked = 0
        self._leaving = False

    def point(self) -> None:
        """A place where a kill can come."""
        self.points += 1
        if self.points - 1 == self.kill_at:
            raise Killed

    @property
    def type(self) -> str:
        """What bifit runs as; "" for not at all."""
        return self.domains.get("bifit", (0, ""))[1]

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    def record(self, argv: Sequence[str], place: str, most: int) -> PretendRecorder:
        self.point()
        assert argv == ["xl", "console", "9"]
        assert self.type == "pv"
        assert all(one.ended for one in self.recorders), "two would share what is printed"
        self.calls.append(" ".join(argv))
        with open(place, "ab") as file:
            file.write(self.prints)
        recorder = PretendRecorder(self)
        self.point()
        self.recorders.append(recorder)
        return recorder

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        self.point()
        self.calls.append(" ".join(argv))
        name = f"_{argv[0].replace('-', '_')}"
        if argv[0] == "xl":
            name += f"_{argv[1]}"
        done: Done = getattr(self, name)(*argv[1:])
        self.point()
        return done

    def _xl_list(self, _: str, which: str) -> Done:
        if which != "-l":
            self.dying -= 1
            return Done(0 if self.dying >= 0 else 1)
        self._asked += 1
        if self._leaving and self._asked > self.polls:
            self.domains.clear()
            self._leaving = False
        entries = [
            {"domid": domid, "config": {"c_info": {"name": name, "type": kind}, "b_info": {}}}
            for name, (domid, kind) in self.domains.items()
        ]
        return Done(0, json.dumps(entries))

    def _xl_shutdown(self, *_: str) -> Done:
        self._leaving, self._asked = self.shuts_down, 0
        return Done(0)

    def _xl_destroy(self, *_: str) -> Done:
        self.domains.clear()
        return Done(0)

    def _xl_create(self, _: str, *words: str) -> Done:
        text = Path(words[-1]).read_text()
        if "--dryrun" in (_, *words):
            return Done(0)
        assert not self.domains, "two domains would write to one disk"
        if self.fails:
            self.fails -= 1
            return Done(3, said="libxl: not enough memory\n")
        kind = "hvm" if "hvm" in text else "pv"
        if kind == "pv" and not self.creates:
            return Done(3, said="xl: error\nno loader found\n")
        self.domains["bifit"] = (9, kind)
        self._asked = 0
        return Done(0)

    def _xenstore_list(self, path: str) -> Done:
        if path == "/local/domain/0/name":
            return Done(0)
        assert path.startswith("/local/domain/9/device/")
        numbers = self.devices.get(path[-3:], {})
        return Done(0, "".join(f"{number}\n" for number in numbers)) if numbers else Done(1)

    def _xenstore_read(self, path: str, *more: str) -> Done:
        if path == "/local/domain/0/name":
            return Done(0, "Domain-0\n")
        if path.endswith("/state"):
            names = [one.split("/")[5:7] for one in (path, *more)]
            return Done(0, "".join(f"{self.devices[kind][number]}\n" for kind, number in names))
        assert path == "/local/domain/9/data/pvprep/boot"
        if self.report is None or self._asked <= self.polls:
            return Done(1)
        return Done(0, json.dumps(self.report) + "\n")

    def _lvs(self, *words: str) -> Done:
        column = words[2]
        if self.mute(column):
            return Done(5, said="Can't get lock for vg0.")
        if column == "vg_name,lv_name,segtype":
            return Done(0, "  vg0/bifit-disk/linear\n")
        if column == "lv_attr":
            assert words[3] == "vg0/bifit-disk"
            self.open -= 1
            return Done(0, f"  {self.attributes[0]}wi-a{'o' if self.open >= 0 else '-'}----\n")
        assert words[2:] == ("lv_name", "vg0")
        return Done(0, "".join(f"  {name[4:]}\n" for name in sorted(self.volumes)))

    def _lvcreate(self, *words: str) -> Done:
        assert not self.domains
        volume = f"vg0/{words[words.index('-n') + 1]}"
        if volume in self.volumes:
            return Done(5, said="already exists in volume group")
        self.volumes.add(volume)
        return Done(0)

    def _lvconvert(self, _: str, volume: str) -> Done:
        assert not self.domains, "never under a domain that runs"
        assert self.open <= 0, "LVM would put it off"
        self.volumes.remove(volume)
        self.restored += 1
        return Done(0)

    def _lvremove(self, _: str, volume: str) -> Done:
        self.volumes.remove(volume)
        return Done(0)


def fresh(directory: Path) -> Path:
    """The directory, empty."""
    shutil.rmtree(directory, ignore_errors=True)
    return directory
