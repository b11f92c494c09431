"""What a kind of change is: its looks, the classes that it lives in, and what it is worth."""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import fisher_exact
from sklearn.utils import resample

from lens_jax.audit import lens_view
from lens_jax.audit.kinds import Spots, crop_around, likeness, union_masks
from lens_jax.audit.separation import LEVEL
from lens_jax.eval.frozen import Frozen

# Of fewer images nothing is said.
LEAST_TESTED = 8
# The largest fraction of the pixels, and the least likeness, of what is taken for a mark.
MARK_SIZE = 0.03
MARK_LIKENESS = 0.5
_TRIES = 4
_RESAMPLES = 1000
_MOST_PASTED = 128
GRAY_LEVELS = 127.5  # of 255, in one unit of images in [-1, 1]


class Scene(NamedTuple):
    """What the worth of a kind is measured with.

    Attributes:
      lens: the lens and the network that was trained with it.
      inputs: images [M, h, w, 3] in [-1, 1].
      change: what the lens adds to them, likewise.
      labels: int [M].
      tested: which of them the network was not trained on, bool [M].
      seed: of random places.

    """

    lens: Frozen
    inputs: np.ndarray
    change: np.ndarray
    labels: np.ndarray
    tested: np.ndarray
    seed: int


def accuracies(scene: Scene, null: Frozen | None) -> dict[str, float]:
    """The fraction of right answers on tested images, as they are and through the lens.

    "null" is that of a network that was trained with shuffled answers. Empty for a task without
    right answers, or where there are too few images.
    """
    tested = scene.tested
    if tested.sum() < LEAST_TESTED or not _can_answer(scene.lens, scene.labels):
        return {}
    inputs = scene.inputs[tested]
    labels = scene.labels[tested]
    raw = lens_view.answer(scene.lens, inputs, labels)
    if raw is None:
        return {}
    lensed = lens_view.answer(scene.lens, inputs + scene.change[tested], labels)
    found = {"raw": float(raw.mean()), "lensed": float(lensed.mean())}
    if null is not None:
        found["null"] = float(lens_view.answer(null, inputs, labels).mean())
    return found


def _can_answer(lens: Frozen, labels: np.ndarray) -> bool:
    """Whether labels mean the same to the network: those of another run's classes may not."""
    if lens.config.task.name != "supervised":
        return True
    return lens.config.data.dir.endswith("images") and labels.max() < len(lens.run["class_names"])


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


def describe(spots: Spots, members: np.ndarray, scene: Scene, names: list[str]) -> dict[str, Any]:
    """Count, place, size, color, spectrum and likeness of a kind, and its classes."""
    features = spots.features[members]
    with_kind = np.zeros(len(scene.inputs), bool)
    with_kind[spots.images[members]] = True
    classes = []
    for label, name in enumerate(names):
        of_class = scene.labels == label
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
    if not _can_answer(scene.lens, scene.labels):
        return found
    found["worth"] = _put_back(scene, masks, having)
    if scene.lens.config.task.name == "supervised":
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
    image of the class without it: a piece of the object.
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

    def ask(images: np.ndarray) -> float:
        return float(lens_view.answer(scene.lens, images, target).mean())

    received = scene.inputs[receivers]
    return {
        "images": len(receivers),
        "before": ask(received),
        "mark": ask(np.where(where, scene.inputs[givers], received)),
        "piece": ask(np.where(where, scene.inputs[rng.choice(plain, len(receivers))], received)),
    }


def _move(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each mask of [N, h, w] moved as a whole by a random distance, around the edges."""
    shifts = rng.integers(0, masks.shape[1:], (len(masks), 2))
    moved = [np.roll(mask, shift, axis=(0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    return np.array(moved)


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    means = [resample(values, random_state=seed + number).mean() for number in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def picture_arrays(
    spots: Spots, members: np.ndarray, inputs: np.ndarray, number: int
) -> dict[str, np.ndarray]:
    """What a kind looks like: examples cut out of images, and the mean of all its changes."""
    width = spots.crops.shape[1]
    examples = []
    for member in members[np.linspace(0, len(members) - 1, 6).astype(int)]:
        crop = crop_around(inputs[spots.images[member]], spots.masks[member], width)
        examples.append(crop)
    return {
        f"kind-{number}-examples": np.array(examples),
        f"kind-{number}-removed": spots.crops[members].mean(axis=0),
        f"kind-{number}-places": spots.masks[members].mean(axis=0),
    }
