"""Kernels from outside: found in a directory or a package, offered to the plan, gathered for the
journal. Nothing here runs a maintainer script, and nothing of a package is believed unchecked.
"""

from __future__ import annotations

from .copying import check, gather
from .offers import offers
from .shelf import Shelf, read

__all__ = ["Shelf", "check", "gather", "offers", "read"]
