"""The pictures of the second screen: where a lens changes images, which ones, and how."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lens_jax.audit.lens_parts import RANDOM, SHUFFLED, TRAINED
from lens_jax.pages import figures
from lens_jax.pages.page import Picture, printable

LENSES = {
    TRAINED: "the lens",
    SHUFFLED: "the lens where nothing can be learned",
    RANDOM: "a random lens",
}
_COLUMNS = 6
_BINS = 40


def map_pictures(name: str, lenses: list[str], arrays: dict[str, np.ndarray]) -> list[Picture]:
    """Where each lens changes images: the mean squared change over the mean image.

    Each map has its own scale: what counts is the place, and the strengths are in the table.
    """
    mean = arrays["mean"].mean(axis=-1) / 255
    pictures = []
    for key in lenses:
        heat = arrays[f"map-{key}"]
        figure = Figure(figsize=figures.MAP_SIZE, dpi=figures.DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(mean, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        strength = np.clip(heat / max(heat.max(), 1e-20), 0, 1)
        axes.imshow(heat, cmap="inferno", alpha=0.25 + 0.75 * strength, interpolation="nearest")
        axes.set_axis_off()
        picture = Picture(
            f"{name}-map-{key}.png",
            figures.to_png(figure),
            f"heat map of where {LENSES[key]} changes images, over their mean",
            f"Where {LENSES[key]} changes images: bright where most, over the mean image.",
        )
        pictures.append(picture)
    return pictures


def gallery_pictures(
    name: str, key: str, paths: list[str], arrays: dict[str, np.ndarray]
) -> list[Picture]:
    """Original, lensed and signed difference of images, a few a picture."""
    inputs = arrays[f"pixels-{key}"] / 127.5 - 1
    changes = arrays[f"changes-{key}"].astype(np.float32)
    scale = figures.difference_scale(arrays["changes-most"].astype(np.float32))
    pictures = []
    for start in range(0, len(paths), _COLUMNS):
        some = slice(start, start + _COLUMNS)
        rows = [
            figures.to_light(inputs[some]),
            figures.to_light(inputs[some] + changes[some]),
            figures.signed_difference(changes[some], scale),
        ]
        files = ", ".join(printable(path) for path in paths[some])
        picture = Picture(
            f"{name}-{key}-{start}.png",
            figures.image_grid(np.stack(rows), ["original", "lensed", "difference"], []),
            "images, the same through the lens, and the signed difference",
            f"{files}.",
        )
        pictures.append(picture)
    return pictures


def kind_picture(name: str, number: int, arrays: dict[str, np.ndarray], caption: str) -> Picture:
    """A kind: examples cut out of images, then what the lens adds there on average."""
    examples = figures.to_light(arrays[f"kind-{number}-examples"])
    removed = arrays[f"kind-{number}-removed"]
    signed = figures.signed_difference(removed, max(float(np.abs(removed).max()), 1e-6))
    cells = np.concatenate([examples, signed[None]])[None]
    return Picture(
        f"{name}-kind-{number}.png",
        figures.image_grid(cells, [f"kind {number + 1}"], []),
        "examples of what is changed, and at the right the mean signed change",
        caption,
    )


def distribution_picture(results: dict[str, dict[str, Any]]) -> Picture:
    """How much the images change, a panel a task: lens and null."""
    panels = len(results)
    height = 1.0 + 2.2 * panels
    figure = Figure(figsize=(figures.WIDTH, height), dpi=figures.DPI, layout="constrained")
    grid = figure.subplots(panels, sharex=True, squeeze=False)[:, 0]
    positive = []
    for result in results.values():
        for values in result["image_change"].values():
            positive += [max(value, 1e-8) for value in values]
    bins = np.geomspace(min(positive), max(max(positive), 1.1 * min(positive)), _BINS)
    for axes, (title, result) in zip(grid, results.items(), strict=True):
        for key, color in ((TRAINED, figures.COLORS[0]), (SHUFFLED, "#999999")):
            if key in result["image_change"]:
                values = np.maximum(result["image_change"][key], 1e-8)
                axes.hist(values, bins, color=color, alpha=0.7, label=LENSES[key])
                axes.axvline(values.mean(), color=color, linewidth=2)
        axes.set_title(title, fontsize=figures.FONT - 2, loc="left")
        axes.set_xscale("log")
        axes.set_ylabel("images", fontsize=figures.FONT - 3)
        axes.tick_params(labelsize=figures.FONT - 4)
    grid[0].legend(fontsize=figures.FONT - 4, frameon=False)
    grid[-1].set_xlabel("mean squared change of an image", fontsize=figures.FONT - 2)
    return Picture(
        "lens-distribution.png",
        figures.to_png(figure),
        "histograms of how much each image is changed, a panel a task",
        "How much each image is changed (reconstruction loss), of pixels in [-1, 1]; a line at "
        "each mean.",
    )
