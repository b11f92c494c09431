"""What a kind of change looks like, which classes it lives in, and whether it is a mark."""

from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from lens_jax.audit.kinds import Spots, crop_around, likeness
from lens_jax.audit.separation import LEVEL

# The largest fraction of the pixels, and the least likeness, of what is taken for a mark. Kinds of
# smooth noise reach 0.70, as what is sorted by its looks is alike, and marks that move 0.88.
MARK_SIZE = 0.03
MARK_LIKENESS = 0.75
GRAY_LEVELS = 127.5  # of 255, in one unit of images in [-1, 1]
_EXAMPLES = 6


def describe(
    spots: Spots, members: np.ndarray, labels: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """Count, place, size, color, spectrum and likeness of a kind, and its classes."""
    features = spots.features[members]
    with_kind = np.zeros(len(labels), bool)
    with_kind[spots.images[members]] = True
    classes = []
    for label, name in enumerate(names):
        of_class = labels == label
        having = int((with_kind & of_class).sum())
        classes.append({"name": name, "having": having, "images": int(of_class.sum())})
    place = features[:, :2]
    return {
        "images": int(with_kind.sum()),
        "place": place.mean(axis=0).tolist(),
        "spread": place.std(axis=0).tolist(),
        "size": float(np.mean(2 ** features[:, 2])),
        "color": (GRAY_LEVELS * features[:, 3:6].mean(axis=0)).tolist(),
        "frequency": float(features[:, 6].mean()),
        "likeness": likeness(spots.crops[members]),
        "classes": classes,
        **_living(classes),
    }


def _living(classes: list[dict[str, Any]]) -> dict[str, Any]:
    """The class in which a kind is most frequent, and how surely it is more so than in others.

    The p-value is that of Fisher's exact test, times the number of classes.
    """
    rates = [each["having"] / max(each["images"], 1) for each in classes]
    most = int(np.argmax(rates))
    if len(classes) < 2:
        return {"lives_in": most, "rate": rates[most], "p": 1.0}
    having = classes[most]["having"]
    lacking = classes[most]["images"] - having
    others_having = sum(each["having"] for each in classes) - having
    others = sum(each["images"] for each in classes) - classes[most]["images"]
    table = [[having, lacking], [others_having, others - others_having]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    rate_of_others = others_having / max(others, 1)
    return {
        "lives_in": most,
        "rate": rates[most],
        "others": rate_of_others,
        "p": min(1.0, p * len(classes)),
    }


def is_mark(kind: dict[str, Any], alike: float) -> bool:
    """Whether a kind is rather a mark than a part of objects.

    It is small, looks the same wherever it is, more so than what the nulls change, and it belongs
    to a class, or putting it back helps more than putting back other pixels does.
    """
    is_small = kind["size"] <= MARK_SIZE
    is_alike = kind["likeness"] >= max(MARK_LIKENESS, alike)
    belongs = kind["p"] <= LEVEL
    helps = kind["worth"].get("low", 0.0) > 0
    return is_small and is_alike and (belongs or helps)


def picture_arrays(
    spots: Spots, members: np.ndarray, inputs: np.ndarray, number: int
) -> dict[str, np.ndarray]:
    """What a kind looks like: examples cut out of images, and the mean of all its changes."""
    width = spots.crops.shape[1]
    examples = []
    places = np.linspace(0, len(members) - 1, _EXAMPLES).astype(int)
    for member in members[places]:
        crop = crop_around(inputs[spots.images[member]], spots.masks[member], width)
        examples.append(crop)
    return {
        f"kind-{number}-examples": np.array(examples),
        f"kind-{number}-removed": spots.crops[members].mean(axis=0),
        f"kind-{number}-places": spots.masks[members].mean(axis=0),
    }
