"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import boot, editors, guests, images
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (editors, boot, images, guests)
    for target in module.TARGETS
}
