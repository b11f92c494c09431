"""The pictures of the page: how well each probe tells, mean images and information maps."""

from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from lens_jax.audit.headline import describe_place
from lens_jax.audit.maps import CELLS
from lens_jax.audit.outcome import Answer
from lens_jax.audit.probes import BESIDE, LOOKS, TRACE
from lens_jax.data.builders import png
from lens_jax.pages import figures
from lens_jax.pages.page import Picture, printable

# The color and the mark of each meaning: either is enough to tell them apart.
_STYLES = {BESIDE: ("#D55E00", "s"), TRACE: ("#CC79A7", "D"), LOOKS: ("#0072B2", "o")}
_ROW_HEIGHT = 0.42
_MAP_WIDTH = 180  # of a class's picture, in pixels
_SPOT_COLOR = (0, 229, 255)


def probe_picture(answers: list[Answer]) -> Picture:
    """Each probe's AUC of the class that it tells best, with its interval, beside its null."""
    height = 1.6 + _ROW_HEIGHT * len(answers)
    figure = Figure(figsize=(figures.WIDTH, height), dpi=figures.DPI, layout="constrained")
    axes = figure.add_subplot()
    for row, answer in enumerate(answers):
        best = answer.best
        color, mark = _STYLES[answer.meaning]
        reached = 100 * best["null_highest"]
        axes.barh(row, reached - 50, left=50, height=0.7, color="#D9D9D9")
        axes.plot([100 * best["low"], 100 * best["high"]], [row, row], color=color, linewidth=3)
        fill = color if answer.is_told else "white"
        axes.plot(100 * best["value"], row, mark, color=color, markerfacecolor=fill, markersize=9)

    for meaning, (color, mark) in _STYLES.items():
        axes.plot([], [], mark, color=color, label=meaning, markersize=9)
    axes.barh(0, 0, color="#D9D9D9", label="reached by shuffled labels")
    axes.set_yticks(range(len(answers)), [answer.title for answer in answers])
    axes.invert_yaxis()
    axes.set_xlim(45, 101)
    axes.axvline(50, color="#555555", linewidth=1)
    axes.set_xlabel("right in how many of 100 pairs", fontsize=figures.FONT)
    axes.tick_params(labelsize=figures.FONT - 2)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=2, fontsize=figures.FONT - 3, frameon=False)
    lines = []
    for answer in answers:
        lines.append(f"{answer.title} {100 * answer.best['value']:.0f}")
    return Picture(
        "probes.png",
        figures.to_png(figure),
        f"chart of how many of 100 pairs each probe gets right: {', '.join(lines)}",
        "How well each probe tells the class that it tells best, with its 95 % interval. Gray: "
        "what the best class of shuffled labels reached. A filled mark lies beyond what luck "
        "explains, a hollow one does not.",
    )


def class_pictures(result: dict[str, Any], outlined: bool) -> list[Picture]:
    """The mean image of each class, beside its map where there is one.

    The spot is outlined where `outlined` says that luck does not explain the maps, and the class's
    own stands out.
    """
    pictures = []
    for number, name in enumerate(result["classes"]):
        label = printable(name)
        mean = np.array(result["means"][number], np.uint8)
        panels = [_enlarge(mean)]
        caption = f"{label}: mean image"
        if "maps" in result:
            values = np.array(result["maps"][number])
            panel = _enlarge(_heat(values))
            caption += f", and what single pixels tell: at most {values.max():.2f}"
            if outlined and result["fractions"][number]:
                spot = result["spots"][number]
                _outline(panel, spot)
                fraction = 100 * result["fractions"][number]
                caption += f"; {_percent(fraction)} % of the pixels tell it beyond luck, and what "
                caption += f"stands out most is {describe_place(spot)}"
            panels.append(panel)
        picture = Picture(
            f"class-{number}.png",
            png.encode(_side_by_side(panels)),
            f"mean image of {label}, and its information map where there is one",
            f"{caption}.",
        )
        pictures.append(picture)
    return pictures


def examples_picture(examples: list) -> Picture:
    """Images that are flagged in one row, and others in the row below."""
    images = np.array(examples, np.uint8) / 255
    shown = figures.image_grid(images, ["flagged", "others"], [])
    return Picture(
        "examples.png",
        shown,
        "images that are flagged, and others",
        "Above the images that are likeliest to have been changed, below others at random.",
    )


def _side_by_side(panels: list[np.ndarray]) -> np.ndarray:
    gap = np.full((_MAP_WIDTH, figures.GAP, 3), 255, np.uint8)
    row = [panels[0]]
    for panel in panels[1:]:
        row += [gap, panel]
    return np.hstack(row)


def _percent(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _heat(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as colors, from black over orange to pale yellow; uint8 [h, w, 3]."""
    gray = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
    colored = cv2.applyColorMap(gray, cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(colored, cv2.COLOR_BGR2RGB)


def _enlarge(image: np.ndarray) -> np.ndarray:
    side = (_MAP_WIDTH, _MAP_WIDTH)
    return cv2.resize(image, side, interpolation=cv2.INTER_NEAREST)


def _outline(panel: np.ndarray, spot: dict[str, float]) -> None:
    """Draws the edges of a spot around its pixels."""
    # Half a cell outside of them.
    margin = 0.5 / CELLS
    left = max(0, round((spot["left"] - margin) * _MAP_WIDTH))
    top = max(0, round((spot["top"] - margin) * _MAP_WIDTH))
    last = _MAP_WIDTH - 1
    right = min(last, round((spot["right"] + margin) * _MAP_WIDTH))
    bottom = min(last, round((spot["bottom"] + margin) * _MAP_WIDTH))
    cv2.rectangle(panel, (left, top), (right, bottom), _SPOT_COLOR, 2)
