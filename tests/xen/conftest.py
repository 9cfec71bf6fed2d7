"""Room for trees and images."""

from tests.guests.conftest import space

__all__ = ["space"]
