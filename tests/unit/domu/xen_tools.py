"""Xen's own readers of a configuration: libxlutil by ctypes, and `xl create --dryrun`."""

from __future__ import annotations

import ctypes
import functools
import glob
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Union

Value = Union[str, list[str]]


class XlError(Exception):
    """What Xen said against a configuration."""


class _Setting(ctypes.Structure):
    """struct XLU_ConfigSetting of tools/libs/util/libxlu_internal.h, as far as it is needed."""


_Setting._fields_ = [("next", ctypes.POINTER(_Setting)), ("name", ctypes.c_char_p)]


class _Config(ctypes.Structure):
    """struct XLU_Config: the settings, the last one first."""

    _fields_ = (("settings", ctypes.POINTER(_Setting)),)


class _Disk(ctypes.Structure):
    """The head of libxl_device_disk (tools/libs/light/libxl_types.idl), and room for its tail."""

    _fields_ = (
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("pdev_path", ctypes.c_char_p),
        ("vdev", ctypes.c_char_p),
        ("backend", ctypes.c_int),
        ("format", ctypes.c_int),
        ("script", ctypes.c_char_p),
        ("removable", ctypes.c_int),
        ("readwrite", ctypes.c_int),
        ("is_cdrom", ctypes.c_int),
        ("tail", ctypes.c_char * 1024),
    )


class _Nic(ctypes.Structure):
    """The head of libxl_device_nic, and room for its tail."""

    _fields_ = (
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("devid", ctypes.c_int),
        ("mtu", ctypes.c_int),
        ("model", ctypes.c_char_p),
        ("mac", ctypes.c_uint8 * 6),
        ("names", ctypes.c_char_p * 4),
        ("nictype", ctypes.c_int),
        ("bytes_per_interval", ctypes.c_uint64),
        ("interval_usecs", ctypes.c_uint32),
        ("tail", ctypes.c_char * 1024),
    )


def _library(name: str) -> ctypes.CDLL:
    found = sorted(glob.glob(f"/usr/lib/*/{name}.so.*"))
    assert found, f"{name} is missing: install Debian's package xen-utils-4.17 (or later)"
    return ctypes.CDLL(found[0])


@functools.cache
def _xlu() -> ctypes.CDLL:
    xlu = _library("libxlutil")
    xlu.xlu_cfg_init.restype = ctypes.POINTER(_Config)
    xlu.xlu_cfg_get_listitem.restype = ctypes.c_char_p
    return xlu


@functools.cache
def _libxl() -> ctypes.CDLL:
    libxl = _library("libxenlight")
    libxl.libxl_disk_format_to_string.restype = ctypes.c_char_p
    return libxl


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "surrogateescape")


class _Report:
    """A FILE* for Xen's messages."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None)
        self.libc.fdopen.restype = ctypes.c_void_p
        self.memory = os.memfd_create("report")
        self.file = ctypes.c_void_p(self.libc.fdopen(os.dup(self.memory), b"w"))

    def close(self) -> str:
        self.libc.fclose(self.file)
        with open(self.memory, "rb") as written:
            written.seek(0)
            return _text(written.read())


def parse(config: str) -> list[tuple[str, Value]]:
    """Every setting that libxlutil finds in it, in order; XlError if it finds fault."""
    xlu, report, data = _xlu(), _Report(), config.encode("utf-8", "surrogateescape")
    cfg = xlu.xlu_cfg_init(report.file, b"test.cfg")
    try:
        failed = xlu.xlu_cfg_readdata(cfg, data, len(data))
        settings = [] if failed else _settings(xlu, cfg)
    finally:
        xlu.xlu_cfg_destroy(cfg)
        said = report.close()
    if failed or said:
        raise XlError(said)
    return settings


def _settings(xlu: ctypes.CDLL, cfg: Any) -> list[tuple[str, Value]]:
    found: list[tuple[str, Value]] = []
    setting = cfg.contents.settings
    while setting:
        name = setting.contents.name
        found.insert(0, (_text(name), _value(xlu, cfg, name)))
        setting = setting.contents.next
    return found


def _value(xlu: ctypes.CDLL, cfg: Any, name: bytes) -> Value:
    items, count = ctypes.c_void_p(), ctypes.c_int()
    if not xlu.xlu_cfg_get_list(cfg, name, ctypes.byref(items), ctypes.byref(count), 1):
        return [_text(xlu.xlu_cfg_get_listitem(items, n)) for n in range(count.value)]
    text = ctypes.c_char_p()
    assert not xlu.xlu_cfg_get_string(cfg, name, ctypes.byref(text), 1)
    return _text(text.value)


def number(key: str, config: str) -> int:
    """A setting as xlu_cfg_get_long reads it."""
    xlu, report, data = _xlu(), _Report(), config.encode("utf-8", "surrogateescape")
    cfg, value = xlu.xlu_cfg_init(report.file, b"test.cfg"), ctypes.c_long()
    assert not xlu.xlu_cfg_readdata(cfg, data, len(data))
    failed = xlu.xlu_cfg_get_long(cfg, key.encode(), ctypes.byref(value), 0)
    xlu.xlu_cfg_destroy(cfg)
    said = report.close()
    if failed:
        raise XlError(said)
    return value.value


def disk(spec: str) -> dict[str, Any]:
    """A disk as xlu_disk_parse reads it; what it does not set is left out."""
    xlu, libxl, report, parsed = _xlu(), _libxl(), _Report(), _Disk()
    libxl.libxl_device_disk_init(ctypes.byref(parsed))
    cfg = xlu.xlu_cfg_init(report.file, b"test.cfg")
    specs = (ctypes.c_char_p * 1)(spec.encode("utf-8", "surrogateescape"))
    failed = xlu.xlu_disk_parse(cfg, 1, specs, ctypes.byref(parsed))
    xlu.xlu_cfg_destroy(cfg)
    said = report.close()
    if failed:
        raise XlError(said)
    found = {
        "target": _text(parsed.pdev_path),
        "vdev": _text(parsed.vdev),
        "format": _text(libxl.libxl_disk_format_to_string(parsed.format)),
        "readwrite": parsed.readwrite,
        "script": _text(parsed.script),
        "backend": parsed.backend,
        "backend_domname": _text(parsed.backend_domname),
        "cdrom": parsed.is_cdrom,
    }
    return {key: value for key, value in found.items() if value or key == "readwrite"}


def rate(text: str) -> tuple[int, int]:
    """A rate as xlu_vif_parse_rate reads it: bytes in each interval, and that in microseconds."""
    xlu, report = _xlu(), _Report()
    cfg = xlu.xlu_cfg_init(report.file, b"test.cfg")
    parsed = _Nic()
    failed = xlu.xlu_vif_parse_rate(cfg, text.encode(), ctypes.byref(parsed))
    xlu.xlu_cfg_destroy(cfg)
    said = report.close()
    if failed:
        raise XlError(said)
    return parsed.bytes_per_interval, parsed.interval_usecs


def build_stand_in(directory: Path) -> Path:
    """Compile no_hypervisor.c; gives the path of the library."""
    source, library = Path(__file__).with_name("no_hypervisor.c"), directory / "no_hypervisor.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def dry_run(config: Path, stand_in: Path) -> Any:
    """The domain that `xl create` would build, as its JSON; XlError if it has words against it."""
    xl = sorted(glob.glob("/usr/lib/xen-*/bin/xl"))
    assert xl, "xl is missing: install Debian's package xen-utils-4.17 (or later)"
    done = subprocess.run(
        [xl[0], "create", "--dryrun", "--quiet", config],
        env={**os.environ, "LD_PRELOAD": str(stand_in)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    if done.returncode or done.stderr:
        raise XlError(done.stderr or f"xl ended with {done.returncode}")
    return json.loads(done.stdout[done.stdout.index("{") :])
