"""What more than one of the unit tests needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.xenstored import Xenstored, started


@pytest.fixture(scope="module")  # others look whether they left a child
def xenstored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xenstored]:
    """One for all tests of a file; each takes a domain of its own."""
    with started(tmp_path_factory.mktemp("xenstored")) as running:
        yield running
