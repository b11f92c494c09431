"""The pictures of what a lens does to images, with their captions."""

import numpy as np

from lens_jax.pages import figures
from lens_jax.pages.page import Picture
from lens_jax.report import change
from lens_jax.report.change import ChangeStatistics
from lens_jax.report.measure import MeasuredLens

COLUMNS = 4
IMAGES_IN_ALL_VIEWS = 2
ROW_LABELS = ["input", "output", "difference"]
GRAY_LEVELS = 127.5  # of 255, in one unit of images in [-1, 1]


def view_pictures(name: str, lens: MeasuredLens) -> list[Picture]:
    """The first images in all their views, a picture an image.

    None where an image has only one view, or where all are alike: a contrastive method is shown
    the whole image twice outside of training.
    """
    views = lens.views_per_image
    images = len(lens.inputs) // views
    by_image = lens.inputs.reshape(images, views, -1)
    if np.all(by_image == by_image[:, :1]):
        return []
    columns = [f"view {view + 1}" for view in range(views)]
    pictures = []
    for image in range(min(IMAGES_IN_ALL_VIEWS, images)):
        chosen = np.arange(image * views, (image + 1) * views)
        number = image + 1
        picture = Picture(
            f"{name}-views-{number}.png",
            _comparison(lens, chosen, columns),
            f"image {number} in its {views} views: input, lens output and difference",
            f"Image {number} in the {views} views that the task makes of it.",
        )
        pictures.append(picture)
    return pictures


def example_pictures(name: str, lens: MeasuredLens) -> list[Picture]:
    """The first view of each image, `COLUMNS` images a picture."""
    first_views = np.arange(0, len(lens.inputs), lens.views_per_image)
    pictures = []
    for start in range(0, len(first_views), COLUMNS):
        chosen = first_views[start : start + COLUMNS]
        span = f"{start + 1} to {start + len(chosen)}"
        picture = Picture(
            f"{name}-examples-{len(pictures) + 1}.png",
            _comparison(lens, chosen, []),
            f"images {span}: input, lens output and difference",
            f"Images {span} of {len(first_views)}, evenly spaced over the eval split.",
        )
        pictures.append(picture)
    return pictures


def _comparison(lens: MeasuredLens, chosen: np.ndarray, columns: list[str]) -> bytes:
    """The chosen inputs, what the lens makes of them, and the difference, row by row."""
    inputs = lens.inputs[chosen]
    lensed = lens.lensed[chosen]
    # One scale for all pictures of a lens, so that they can be compared.
    scale = _difference_scale(lens)
    rows = [
        figures.to_light(inputs),
        figures.to_light(lensed),
        figures.signed_difference(lensed - inputs, scale),
    ]
    return figures.image_grid(np.stack(rows), ROW_LABELS, columns)


def _difference_scale(lens: MeasuredLens) -> float:
    return figures.difference_scale(lens.lensed - lens.inputs)


def difference_key(lens: MeasuredLens) -> str:
    """How to read the rows of differences, which are amplified alike in all pictures of a lens."""
    scale = _difference_scale(lens)
    factor = f"{1 / scale:.2g}"
    levels = f"{GRAY_LEVELS * scale:.0f}"
    return (
        "Rows named difference are gray where nothing changed, brighter where the lens added "
        "light and darker where it removed some, in each color channel. They are amplified "
        f"{factor} times: full strength is a change of {levels} of 255 gray levels or more."
    )


def map_pictures(name: str, statistics: ChangeStatistics) -> list[Picture]:
    """Where a lens changes images: the mean squared and the mean signed change of each pixel."""
    outlined = change.outline(statistics.mask)
    count = len(statistics.image_change)
    measured_on = f"mean over all views of {count} images."
    if outlined.any():
        measured_on += " The outline is where the shortcut is drawn."
    squared = Picture(
        f"{name}-squared.png",
        figures.heat_map(statistics.pixel_change, outlined),
        "heat map of the mean squared change of each pixel",
        f"How much each pixel changes: squared change of values in [-1, 1], {measured_on}",
    )
    signed = Picture(
        f"{name}-signed.png",
        figures.diverging_map(GRAY_LEVELS * statistics.signed_change, outlined),
        "map of the mean signed change of each pixel",
        "In which direction: red where the lens adds light, blue where it removes some, in gray "
        f"levels of 255, {measured_on}",
    )
    return [squared, signed]


def ranked_pictures(name: str, statistics: ChangeStatistics) -> list[Picture]:
    """The images that a lens changes most and least, with their mean squared change."""
    most = change.most_changed(statistics.image_change, COLUMNS)
    least = change.least_changed(statistics.image_change, COLUMNS)
    return [
        _ranked(name, statistics, "most", most),
        _ranked(name, statistics, "least", least),
    ]


def _ranked(name: str, statistics: ChangeStatistics, rank: str, chosen: np.ndarray) -> Picture:
    inputs = figures.to_light(statistics.inputs[chosen])
    lensed = figures.to_light(statistics.lensed[chosen])
    columns = [f"{value:.2g}" for value in statistics.image_change[chosen]]
    count = len(statistics.image_change)
    return Picture(
        f"{name}-{rank}.png",
        figures.image_grid(np.stack([inputs, lensed]), ROW_LABELS[:2], columns),
        f"the images that the lens changes {rank}",
        f"Changed {rank} of {count} images, with the mean squared change over their views.",
    )
