"""Measures what a lens does to the images of an audit, beside lenses that learned nothing."""

from typing import Any

import cv2
import numpy as np

from lens_jax.audit import kind_looks, lens_view, worth
from lens_jax.audit.kept import write_arrays
from lens_jax.audit.kinds import find_spots, likeness, sort_into_kinds
from lens_jax.audit.lens_images import choose, choose_measured
from lens_jax.audit.lens_parts import RANDOM, SHUFFLED, TRAINED
from lens_jax.audit.state import Audit, Result
from lens_jax.eval.frozen import Frozen

SHOWN = 24
_RESAMPLES = 1000


def measure(audit: Audit, name: str, lens: Frozen, null: Frozen | None) -> Result:
    """What a lens does, and its nulls do; pictures are kept as arrays under the part's name.

    Args:
      audit: whose images.
      name: of the part.
      lens: the lens to look through.
      null: one that was trained with shuffled answers, if there is one.

    Returns:
      See `lens_sections`, which tells it.

    """
    chosen = choose(audit)
    if not len(chosen.labels):
        return {"why_not": "there is no image that can be read"}
    rows = choose_measured(chosen, audit.seed)
    pixels = _fit(chosen.pixels[rows], lens.config.data.image_size)
    inputs = lens_view.to_unit(pixels)
    changes = {TRAINED: lens_view.apply_lens(lens, pixels) - inputs}
    if null is not None:
        changes[SHUFFLED] = lens_view.apply_lens(null, pixels) - inputs
    random = lens_view.apply_lens(lens_view.randomize_lens(lens, audit.seed), pixels) - inputs
    changes[RANDOM] = lens_view.as_strong(random, changes[TRAINED])

    # Where, how much, and in which images.
    numbers = {}
    maps = {}
    per_image = {}
    for key, change in changes.items():
        squared = np.mean(np.square(change), axis=-1)
        per_image[key] = squared.mean(axis=(1, 2))
        maps[key] = squared.mean(axis=0)
        numbers[key] = {"change": float(squared.mean()), **lens_view.concentration(squared)}

    labels = chosen.labels[rows]
    tested = chosen.held_out[rows] if null is not None else np.ones(len(rows), bool)
    scene = worth.Scene(
        lens, inputs, changes[TRAINED], labels, tested, null is not None, audit.seed
    )
    alike = _likeness_of_nulls(changes)
    accuracy = worth.accuracies(scene, null)
    kinds, arrays = _describe_kinds(scene, chosen.names, alike)
    if not accuracy.get("learned", True):
        # Of a network that has learned nothing, its lens says nothing.
        kinds = [kind | {"is_mark": False} for kind in kinds]
    shown = _choose_shown(per_image[TRAINED], audit.seed)
    arrays |= {f"map-{key}": each for key, each in maps.items()}
    arrays["mean"] = pixels.mean(axis=0)
    for key, places in shown.items():
        arrays[f"pixels-{key}"] = pixels[places]
        arrays[f"changes-{key}"] = changes[TRAINED][places].astype(np.float16)
    write_arrays(audit.output, name, arrays)
    return {
        "why_not": "",
        "task": lens.config.task.name,
        "step": lens.step,
        "images": len(rows),
        "tested": int(tested.sum()),
        "accuracy": accuracy,
        "likeness_null": alike,
        "lenses": numbers,
        "image_change": {key: np.round(each, 8).tolist() for key, each in per_image.items()},
        "classes": _by_class(per_image[TRAINED], labels, chosen.names, audit.seed),
        "kinds": kinds,
        "arrays": list(arrays),
        "shown": {
            key: [chosen.paths[rows[place]] for place in places] for key, places in shown.items()
        },
    }


def _fit(pixels: np.ndarray, side: int) -> np.ndarray:
    if pixels.shape[1] == side:
        return pixels
    return np.array([cv2.resize(each, (side, side)) for each in pixels])


def _choose_shown(image_change: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The images changed most, and as many drawn at random."""
    most = np.argsort(-image_change, kind="stable")[:SHOWN]
    drawn = np.random.default_rng([seed, 5]).permutation(len(image_change))[:SHOWN]
    return {"most": most, "drawn": drawn}


def _by_class(
    image_change: np.ndarray, labels: np.ndarray, names: list[str], seed: int
) -> list[dict[str, Any]]:
    """The mean change of each class, with its 95 % interval by the bootstrap."""
    rng = np.random.default_rng([seed, 6])
    found = []
    for label, name in enumerate(names):
        values = image_change[labels == label]
        if not len(values):
            continue
        drawn = rng.integers(0, len(values), (_RESAMPLES, len(values)))
        low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
        each = {"name": name, "images": len(values), "change": float(values.mean())}
        found.append(each | {"low": float(low), "high": float(high)})
    return found


def _likeness_of_nulls(changes: dict[str, np.ndarray]) -> float:
    """How alike the changes of the nulls are: of the kind in which they are most so."""
    highest = 0.0
    for key, change in changes.items():
        if key != TRAINED:
            spots = find_spots(change)
            for members in sort_into_kinds(spots, len(change)):
                highest = max(highest, likeness(spots.crops[members]))
    return highest


def _describe_kinds(
    scene: worth.Scene, names: list[str], alike: float
) -> tuple[list[Result], dict[str, np.ndarray]]:
    """The kinds of changes of a lens, and their pictures."""
    spots = find_spots(scene.change)
    sorted_spots = sort_into_kinds(spots, len(scene.inputs))
    kinds = []
    arrays = {}
    for number, members in enumerate(sorted_spots):
        kind = kind_looks.describe(spots, members, scene.labels, names)
        # So many questions are asked (Bonferroni).
        kind["p"] = min(1.0, kind["p"] * len(sorted_spots))
        kind |= worth.measure_worth(scene, spots, members, kind)
        kind["is_mark"] = kind_looks.is_mark(kind, alike)
        kinds.append(kind)
        arrays |= kind_looks.picture_arrays(spots, members, scene.inputs, number)
    return kinds, arrays
