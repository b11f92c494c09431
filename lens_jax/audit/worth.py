"""What a kind of change is worth to the network, and whether it is the mark or the object."""

from typing import Any, NamedTuple

import numpy as np

from lens_jax.audit import lens_view
from lens_jax.audit.kinds import Spots, union_masks
from lens_jax.audit.lens_parts import SUPERVISED
from lens_jax.eval.frozen import Frozen

# Of fewer images nothing is said.
LEAST_TESTED = 8
_TRIES = 4
_RESAMPLES = 1000
_MOST_PASTED = 128


class Scene(NamedTuple):
    """What the worth of a kind is measured with.

    Attributes:
      lens: the lens and the network that was trained with it.
      inputs: images [M, h, w, 3] in [-1, 1].
      change: what the lens adds to them, likewise.
      labels: int [M].
      tested: which of them the network was not trained on, bool [M].
      knows_labels: whether the network was trained on labels that mean the same as these.
      seed: of random places.

    """

    lens: Frozen
    inputs: np.ndarray
    change: np.ndarray
    labels: np.ndarray
    tested: np.ndarray
    knows_labels: bool
    seed: int

    @property
    def has_answers(self) -> bool:
        """Whether it can be told which answers are right: not by the labels of another run."""
        return self.knows_labels or self.lens.config.task.name != SUPERVISED


def accuracies(scene: Scene, null: Frozen | None) -> dict[str, Any]:
    """The fraction of right answers on tested images, as they are and through the lens.

    "null" is that of a network that was trained with shuffled answers, and "learned" whether the
    lens's own is right more often, beyond a 95 % interval over images. Empty for a task without
    right answers, or where there are too few images.
    """
    tested = scene.tested
    if tested.sum() < LEAST_TESTED or not scene.has_answers:
        return {}
    inputs = scene.inputs[tested]
    labels = scene.labels[tested]
    raw = lens_view.answer(scene.lens, inputs, labels)
    if raw is None:
        return {}
    lensed = lens_view.answer(scene.lens, inputs + scene.change[tested], labels)
    found = {"raw": float(raw.mean()), "lensed": float(lensed.mean())}
    if null is not None:
        right = lens_view.answer(null, inputs, labels)
        found["null"] = float(right.mean())
        low, _ = _interval(raw.mean(axis=1) - right.mean(axis=1), scene.seed)
        found["learned"] = low > 0
    return found


def measure_worth(
    scene: Scene, spots: Spots, members: np.ndarray, kind: dict[str, Any]
) -> dict[str, Any]:
    """What a kind is worth, and whether the lens looks for it or for the object beside it.

    Returns:
      "with" and "without": the mean squared change of images of the class that it lives in, with
      the kind and without, see `_compare_changes`; "worth", see `_put_back`; and "pasted", see
      `_paste`. The latter two are empty where there is nothing to ask.

    """
    masks = union_masks(spots, members, len(scene.inputs))
    having = masks.any(axis=(1, 2))
    found = {"groups": _compare_changes(scene, masks, having, kind["lives_in"])}
    found["worth"] = {}
    found["pasted"] = {}
    if not scene.has_answers:
        return found
    found["worth"] = _put_back(scene, masks, having)
    if scene.lens.config.task.name == SUPERVISED:
        found["pasted"] = _paste(scene, masks, having, kind["lives_in"])
    return found


def _compare_changes(
    scene: Scene, masks: np.ndarray, having: np.ndarray, label: int
) -> dict[str, Any]:
    """The mean squared change of the images of a class with a kind, and without.

    "beside" leaves the kind's own pixels out: where it is the mark that matters, the rest of its
    images changes no more than others do.
    """
    squared = np.mean(np.square(scene.change), axis=-1)
    whole = squared.mean(axis=(1, 2))
    outside = (squared * ~masks).sum(axis=(1, 2)) / np.maximum((~masks).sum(axis=(1, 2)), 1)
    of_class = scene.labels == label
    found = {}
    for name, chosen in (("with", of_class & having), ("without", of_class & ~having)):
        found[name] = {"images": int(chosen.sum())}
        if chosen.any():
            found[name] |= {
                "change": float(whole[chosen].mean()),
                "beside": float(outside[chosen].mean()),
            }
    return found


def _put_back(scene: Scene, masks: np.ndarray, having: np.ndarray) -> dict[str, Any]:
    """Accuracy on tested images with a kind: as they are, lensed, and with the kind put back.

    The null puts back as many pixels of each image at other places: the same masks, moved at
    random. "gain" is what the kind adds beyond that, with its 95 % interval by the bootstrap over
    images.
    """
    chosen = np.nonzero(having & scene.tested)[0]
    if len(chosen) < LEAST_TESTED:
        return {}
    inputs = scene.inputs[chosen]
    change = scene.change[chosen]
    labels = scene.labels[chosen]

    def ask(where: np.ndarray) -> np.ndarray | None:
        """The fraction of right answers of each image with the change at some pixels undone."""
        images = inputs + change * ~where[..., None]
        right = lens_view.answer(scene.lens, images, labels)
        return None if right is None else right.mean(axis=1)

    everything = np.ones_like(masks[chosen])
    raw = ask(everything)
    if raw is None:
        return {}
    lensed = ask(~everything)
    back = ask(masks[chosen])
    rng = np.random.default_rng([scene.seed, 7])
    elsewhere = np.mean([ask(_move(masks[chosen], rng)) for _ in range(_TRIES)], axis=0)
    gains = back - elsewhere
    low, high = _interval(gains, scene.seed)
    return {
        "images": len(chosen),
        "raw": float(raw.mean()),
        "lensed": float(lensed.mean()),
        "back": float(back.mean()),
        "elsewhere": float(elsewhere.mean()),
        "gain": float(gains.mean()),
        "low": low,
        "high": high,
    }


def _paste(scene: Scene, masks: np.ndarray, having: np.ndarray, label: int) -> dict[str, Any]:
    """How many images of other classes are taken for the class of a kind, once it is pasted.

    The pixels of the kind come from an image that has it. The null pastes the same pixels of an
    image of the class without it: a piece of the object. "low" and "high" are the 95 % interval of
    the difference.
    """
    donors = np.nonzero(having & (scene.labels == label))[0]
    plain = np.nonzero(~having & (scene.labels == label))[0]
    receivers = np.nonzero(~having & (scene.labels != label) & scene.tested)[0][:_MOST_PASTED]
    if min(len(donors), len(plain), len(receivers)) < LEAST_TESTED:
        return {}
    rng = np.random.default_rng([scene.seed, 8])
    givers = rng.choice(donors, len(receivers))
    where = masks[givers][..., None]
    target = np.full(len(receivers), label)

    def ask(images: np.ndarray) -> np.ndarray:
        return lens_view.answer(scene.lens, images, target).mean(axis=1)

    received = scene.inputs[receivers]
    others = rng.choice(plain, len(receivers))
    mark = ask(np.where(where, scene.inputs[givers], received))
    piece = ask(np.where(where, scene.inputs[others], received))
    low, high = _interval(mark - piece, scene.seed)
    return {
        "images": len(receivers),
        "before": float(ask(received).mean()),
        "mark": float(mark.mean()),
        "piece": float(piece.mean()),
        "low": low,
        "high": high,
    }


def _move(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each mask of [N, h, w] moved as a whole by a random distance, around the edges."""
    shifts = rng.integers(0, masks.shape[1:], (len(masks), 2))
    moved = [np.roll(mask, shift, axis=(0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    return np.array(moved)


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of a mean over images, by the bootstrap."""
    rows = np.random.default_rng([seed, 9]).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
