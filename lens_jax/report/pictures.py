"""What is shown of a lens at work, and of the training: which figures, and their captions."""

from typing import NamedTuple

import numpy as np

from lens_jax.pages import figures
from lens_jax.pages.html import Picture
from lens_jax.report import change as changes
from lens_jax.report.change import Change
from lens_jax.report.runs import Run

COLUMNS = 4
TURNED = 2  # images shown in all their views
ROWS = ["input", "output", "difference"]


class Look(NamedTuple):
    """A lens at work: on some images in all their views, and summed up over more images.

    Attributes:
      inputs: the views, [N, h, w, 3] in [-1, 1]; those of an image lie next to each other.
      lensed: the same through the lens, not clipped.
      views: how many there are of an image.
      change: what it changes over more images.
      patches: whether an input is nine patches of an image, laid out by `change.lay_out`.

    """

    inputs: np.ndarray
    lensed: np.ndarray
    views: int
    change: Change
    patches: bool = False


def view_pictures(name: str, look: Look) -> list[Picture]:
    """The first images in all their views, a picture an image; none where an image is its only view."""
    count = min(TURNED, len(look.inputs) // look.views) if look.views > 1 else 0
    columns = [f"view {view + 1}" for view in range(look.views)]
    return [
        Picture(
            f"{name}-views-{image + 1}.png",
            _before_and_after(look, np.arange(look.views) + image * look.views, columns),
            f"image {image + 1} in its {look.views} views: input, lens output and difference",
            f"Image {image + 1} in the {look.views} views that the task makes of it.",
        )
        for image in range(count)
    ]


def example_pictures(name: str, look: Look) -> list[Picture]:
    """The first view of each image, `COLUMNS` images a picture."""
    first_views = np.arange(0, len(look.inputs), look.views)
    strips = [first_views[start : start + COLUMNS] for start in range(0, len(first_views), COLUMNS)]
    spans = [f"{strip[0] // look.views + 1} to {strip[-1] // look.views + 1}" for strip in strips]
    return [
        Picture(
            f"{name}-examples-{index + 1}.png",
            _before_and_after(look, strip, []),
            f"images {span}: input, lens output and difference",
            f"Images {span} of the eval split.",
        )
        for index, (strip, span) in enumerate(zip(strips, spans, strict=True))
    ]


def _before_and_after(look: Look, chosen: np.ndarray, columns: list[str]) -> bytes:
    inputs, lensed = look.inputs[chosen], look.lensed[chosen]
    difference = figures.signed_difference(lensed - inputs, _scale(look))
    rows = np.stack([figures.to_light(inputs), figures.to_light(lensed), difference])
    return figures.image_grid(rows, ROWS, columns)


def _scale(look: Look) -> float:
    return figures.difference_scale(look.lensed - look.inputs)


def difference_key(look: Look) -> str:
    """How to read the rows of differences, which are amplified alike in all pictures of a lens."""
    scale = _scale(look)
    return (
        "Rows named difference are gray where nothing changed, brighter where the lens added light and "
        f"darker where it removed some, in each color channel. They are amplified {1 / scale:.2g} times: "
        f"full strength is a change of {127.5 * scale:.0f} of 255 gray levels or more."
    )


def map_pictures(name: str, change: Change) -> list[Picture]:
    """Where a lens changes images: the mean squared and the mean signed change of each pixel."""
    marked = changes.outline(change.mask)
    drawn = " The outline is where the shortcut is drawn." if marked.any() else ""
    over = f"mean over all views of {len(change.losses)} images"
    return [
        Picture(
            f"{name}-squared.png",
            figures.squared_map(change.squared, marked),
            "heat map of the mean squared change of each pixel",
            f"How much each pixel changes: squared change of values in [-1, 1], {over}.{drawn}",
        ),
        Picture(
            f"{name}-signed.png",
            figures.signed_map(127.5 * change.signed, marked),
            "map of the mean signed change of each pixel",
            "In which direction: red where the lens adds light, blue where it removes some, in gray levels "
            f"of 255, {over}.{drawn}",
        ),
    ]


def ranked_pictures(name: str, change: Change) -> list[Picture]:
    """The images that a lens changes most and least, with their mean squared change."""
    ends = {
        "most": changes.most_changed(change.losses, COLUMNS),
        "least": changes.least_changed(change.losses, COLUMNS),
    }
    return [
        Picture(
            f"{name}-{end}.png",
            _ranked(change, chosen),
            f"the images that the lens changes {end}",
            f"Changed {end} of {len(change.losses)} images, with the mean squared change over their views.",
        )
        for end, chosen in ends.items()
    ]


def _ranked(change: Change, chosen: np.ndarray) -> bytes:
    rows = np.stack(
        [figures.to_light(change.inputs[chosen]), figures.to_light(change.lensed[chosen])]
    )
    return figures.image_grid(rows, ROWS[:2], [f"{loss:.2g}" for loss in change.losses[chosen]])


def curve_pictures(runs: list[Run]) -> list[Picture]:
    """The training curves of all runs in one picture; none where nothing was logged."""
    histories = {run.name: _history(run) for run in runs if run.rows}
    if not histories:
        return []
    altered = any(run.kind != "none" for run in runs)
    lensed = " Accuracy: solid on altered images, dashed on images as they are." if altered else ""
    return [
        Picture(
            "curves.png",
            figures.curves(histories),
            "training curves: pretext loss, pretext accuracy, and how much images are changed",
            f"Measured on training images.{lensed}",
        )
    ]


def _history(run: Run) -> list[dict[str, float]]:
    """A run's rows; the penalty is a curve where it is steered, and else a setting."""
    if run.config["lens"]["budget"] == "target":
        return run.rows
    return [{name: row[name] for name in row if name != "lens_penalty"} for row in run.rows]
