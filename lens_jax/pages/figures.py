"""Arrays as PNG files."""

import io
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

DPI = 120
FONT = 16
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")

# Sizes of maps and panels, in inches.
MAP_SIZE = (5.6, 4.55)
WIDTH = 7.0
PANEL_HEIGHT = 3.2
LEGEND_HEIGHT = 0.7

# Sizes in a grid of images, in pixels.
GAP = 8
LABEL = 44
CELL = 180  # small images are enlarged to this width at most


class Line(NamedTuple):
    """A line of a panel.

    Attributes:
      series: index of the name in the legend that it belongs to, which decides its color.
      x: positions of its points.
      y: their heights, as many.
      style: "-" for a solid line, "--" for a dashed one.

    """

    series: int
    x: list[float]
    y: list[float]
    style: str = "-"


class Panel(NamedTuple):
    """Lines on common axes, under a title; `scale` is "linear" or "log", that of the y axis."""

    title: str
    scale: str
    lines: list[Line]


def to_light(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as a screen shows them, in [0, 1]; values outside are clipped."""
    return np.clip((images + 1) / 2, 0, 1)


def difference_scale(difference: np.ndarray) -> float:
    """The scale for `signed_difference`: the 99.5th percentile of the magnitude, never 0."""
    return max(float(np.percentile(np.abs(difference), 99.5)), 1e-6)


def signed_difference(difference: np.ndarray, scale: float) -> np.ndarray:
    """Differences of any shape as light in [0, 1]: 0.5 + difference / (2 scale), clipped.

    0.5 is no difference, 1 is +`scale` or more, 0 is -`scale` or less.
    """
    return np.clip(0.5 + difference / (2 * scale), 0, 1)


def image_grid(images: np.ndarray, rows: list[str], columns: list[str]) -> bytes:
    """Images [R, C, h, w, 3] in [0, 1] as a table with R row labels and C column labels.

    Without column labels (an empty list), no space is left for them. Small images are enlarged by
    a whole number, so that each pixel becomes a square of one color.
    """
    zoom = max(1, CELL // images.shape[2])
    cells = images.repeat(zoom, axis=2).repeat(zoom, axis=3)
    row_count, column_count, cell_height, cell_width = cells.shape[:4]

    # The pixels where rows and columns start, and last where the next ones would.
    top = LABEL if columns else GAP
    row_starts = top + np.arange(row_count + 1) * (cell_height + GAP)
    column_starts = LABEL + np.arange(column_count + 1) * (cell_width + GAP)
    height = row_starts[-1]
    width = column_starts[-1]

    # The images on a white canvas.
    canvas = np.ones((height, width, 3))
    for row in range(row_count):
        y = row_starts[row]
        for column in range(column_count):
            x = column_starts[column]
            canvas[y : y + cell_height, x : x + cell_width] = cells[row, column]

    # The canvas is drawn pixel by pixel: axes would resample it.
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(canvas, origin="upper")

    # The labels, beside the middle of each row and above that of each column.
    for label, start in zip(rows, row_starts, strict=False):
        middle = start + cell_height / 2
        _label(figure, label, LABEL / 2 / width, 1 - middle / height, "vertical")
    for label, start in zip(columns, column_starts, strict=False):
        middle = start + cell_width / 2
        _label(figure, label, middle / width, 1 - LABEL / 2 / height, "horizontal")
    return _png(figure)


def _label(figure: Figure, text: str, x: float, y: float, rotation: str) -> None:
    """Centers a text on (x, y), fractions of the figure from its lower left corner."""
    figure.text(
        x,
        y,
        text,
        rotation=rotation,
        ha="center",
        va="center",
        fontsize=FONT,
        parse_math=False,
    )


def heat_map(values: np.ndarray, outlined: np.ndarray) -> bytes:
    """Values [h, w] of 0 or more, from dark to bright, with the outline of a bool [h, w]."""
    highest = max(values.max(), 1e-12)
    return _draw_map(values, outlined, "magma", (0, highest), "#00E5FF")


def diverging_map(values: np.ndarray, outlined: np.ndarray) -> bytes:
    """Values [h, w], red above 0 and blue below, with the outline of a bool [h, w]."""
    limit = max(np.abs(values).max(), 1e-12)
    return _draw_map(values, outlined, "RdBu_r", (-limit, limit), "#111111")


def _draw_map(
    values: np.ndarray,
    outlined: np.ndarray,
    colors: str,
    limits: tuple[float, float],
    edge_color: str,
) -> bytes:
    figure = Figure(figsize=MAP_SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    low, high = limits
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    outline = LineCollection(edges(outlined), colors=edge_color, linewidths=2.5)
    axes.add_collection(outline)
    axes.set_axis_off()
    bar = figure.colorbar(image, ax=axes, format="%.2g")
    bar.ax.tick_params(labelsize=FONT)
    return _png(figure)


def edges(mask: np.ndarray) -> np.ndarray:
    """The borders between True and False pixels of `mask` [h, w], as E lines [E, 2, 2].

    A line is two points (x, y). Pixels are centered on whole numbers, as `imshow` puts them;
    outside of the image, the mask is False.
    """
    padded = np.pad(mask, 1).astype(int)

    # Horizontal lines, where a pixel differs from the one above it.
    differs = np.diff(padded, axis=0)[:, 1:-1]
    y, x = np.nonzero(differs)
    left = np.stack([x - 0.5, y - 0.5], axis=-1)
    right = np.stack([x + 0.5, y - 0.5], axis=-1)
    horizontal = np.stack([left, right], axis=1)

    # Vertical lines, where a pixel differs from the one on its left.
    differs = np.diff(padded, axis=1)[1:-1]
    y, x = np.nonzero(differs)
    upper = np.stack([x - 0.5, y - 0.5], axis=-1)
    lower = np.stack([x - 0.5, y + 0.5], axis=-1)
    vertical = np.stack([upper, lower], axis=1)
    return np.concatenate([horizontal, vertical])


def line_panels(panels: list[Panel], x_label: str, names: list[str]) -> bytes:
    """Panels one under another, of at least one, over a common x axis and under one legend.

    `names` are the series of the legend, each in a color of its own (of seven, then repeated).
    """
    height = PANEL_HEIGHT * len(panels) + LEGEND_HEIGHT
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel)
    all_axes[-1].set_xlabel(x_label, fontsize=FONT)
    _draw_legend(figure, names)
    return _png(figure)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        # A single point is a dot: a line through it cannot be seen.
        marker = "o" if len(line.x) == 1 else ""
        color = _color(line.series)
        axes.plot(line.x, line.y, line.style, marker=marker, color=color, linewidth=2)
    axes.set_title(panel.title, fontsize=FONT, loc="left")
    axes.set_yscale(panel.scale)
    axes.tick_params(labelsize=FONT, which="both")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_legend(figure: Figure, names: list[str]) -> None:
    lines = [Line2D([], [], color=_color(index), linewidth=3) for index in range(len(names))]
    # Labels are set afterwards: given at once, names such as _old would be left out.
    placeholders = ["name"] * len(names)
    legend = figure.legend(
        lines, placeholders, loc="outside upper left", ncols=3, fontsize=FONT, frameon=False
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _color(series: int) -> str:
    return COLORS[series % len(COLORS)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
