"""How the tests share two processors when they run side by side."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guests boot one at a time, and a module's roots are made once: in one worker each."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("guest", "xen", "xen_all")):
            item.add_marker(pytest.mark.xdist_group("machines"))
        elif item.get_closest_marker("roots"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
        else:
            item.add_marker(pytest.mark.xdist_group(f"unit-{item.path.name}"))
