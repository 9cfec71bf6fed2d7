"""How the tests share a machine: by file, slow ones first, mounts apart."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from pvprep.namespace import MS_REC, MS_SLAVE, mount, new_namespace

# A busy machine is no fault of the code. What decides on a change tries the same each time.
settings.register_profile(
    "pvprep", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("pvprep")


def pytest_configure(config: pytest.Config) -> None:
    """What one worker unmounts would stay busy in the mount namespaces that the other has made."""
    if hasattr(config, "workerinput") and os.geteuid() == 0:
        new_namespace()
        mount("none", "/", "", MS_REC | MS_SLAVE)


# select(2) cannot do with more than 1024, and other processes are started with all of them.
_DESCRIPTORS = 200


def pytest_runtest_teardown() -> None:
    """A Guest holds directories open until it is gone, and one in an error's cycle goes late."""
    if len(os.listdir("/proc/self/fd")) > _DESCRIPTORS:
        gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones begin early, so that no worker is left alone with one in the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """A file goes as a whole, by where it lies: its slowest test decides."""
    folder = item.path.parent.name
    return {"xen": 0, "guests": 1, "roots": 2}.get(folder, 3)
