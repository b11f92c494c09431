"""The operations of augmentations one by one: what a network makes of each can be measured."""

import dataclasses
from collections.abc import Sequence

from lens_jax.ops.augment import Augmentation

# Those that happen to an image or not, by the names of their probabilities.
CHANCES = ("flip", "jitter", "gray", "blur", "solarize")
# Of these, the ones that also have a strength: they vary even where they happen to every image.
_HAVE_STRENGTHS = ("jitter", "blur")


def alone(augmentations: Sequence[Augmentation]) -> dict[str, tuple[Augmentation, ...]]:
    """The augmentations with one operation each, by its name: done to all images, without others.

    Of "crop" and `CHANCES` those that vary in some of the augmentations. What all of them do to
    every image, such as to take the colors of all views away, is no difference between views, and
    stays.
    """
    operations = [name for name in CHANCES if _varies(augmentations, name)]
    if _area(augmentations)[0] < 1:
        operations.insert(0, "crop")

    found = {}
    for operation in operations:
        changes = _only(augmentations, operation)
        # Every view keeps its own strengths.
        changed = [dataclasses.replace(each, **changes) for each in augmentations]
        found[operation] = tuple(changed)
    return found


def union(augmentations: Sequence[Augmentation]) -> Augmentation:
    """The first augmentation, able to apply what any of them has drawn.

    They must differ in area and probabilities alone.
    """
    changes = {"area": _area(augmentations)}
    for name in CHANCES:
        probabilities = _probabilities(augmentations, name)
        changes[name] = max(probabilities)
    return dataclasses.replace(augmentations[0], **changes)


def _only(augmentations: Sequence[Augmentation], operation: str) -> dict[str, object]:
    """The settings with which one operation is done to every image, and else what is constant."""
    whole = (1.0, 1.0)
    settings: dict[str, object] = {"area": whole}
    for name in CHANCES:
        is_constant = _is_constant(augmentations, name)
        settings[name] = float(is_constant)

    if operation == "crop":
        return settings | {"area": _area(augmentations)}
    return settings | {operation: 1.0}


def _varies(augmentations: Sequence[Augmentation], name: str) -> bool:
    """Whether some views differ by it."""
    probabilities = _probabilities(augmentations, name)
    return max(probabilities) > 0 and not _is_constant(augmentations, name)


def _is_constant(augmentations: Sequence[Augmentation], name: str) -> bool:
    """Whether it happens to every image, and always alike."""
    probabilities = _probabilities(augmentations, name)
    return min(probabilities) == 1 and name not in _HAVE_STRENGTHS


def _probabilities(augmentations: Sequence[Augmentation], name: str) -> list[float]:
    return [getattr(augmentation, name) for augmentation in augmentations]


def _area(augmentations: Sequence[Augmentation]) -> tuple[float, float]:
    """That of the augmentation which crops most."""
    areas = [augmentation.area for augmentation in augmentations]
    return min(areas)
