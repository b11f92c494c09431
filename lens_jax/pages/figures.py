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
    light = (images + 1) / 2
    return np.clip(light, 0, 1)


def difference_scale(difference: np.ndarray) -> float:
    """The scale for `signed_difference`: the 99.5th percentile of the magnitude, never 0."""
    magnitude = np.abs(difference)
    scale = np.percentile(magnitude, 99.5)
    return max(float(scale), 1e-6)


def signed_difference(difference: np.ndarray, scale: float) -> np.ndarray:
    """Differences of any shape as light in [0, 1]: 0.5 + difference / (2 scale), clipped.

    0.5 is no difference, 1 is +`scale` or more, 0 is -`scale` or less.
    """
    light = 0.5 + difference / (2 * scale)
    return np.clip(light, 0, 1)


def image_grid(images: np.ndarray, rows: list[str], columns: list[str]) -> bytes:
    """Images [R, C, h, w, 3] in [0, 1] as a table with R row labels and C column labels.

    Without column labels (an empty list), no space is left for them. Small images are enlarged by
    a whole number, so that each pixel becomes a square of one color.
    """
    cells = _enlarge(images)
    row_count, column_count, cell_height, cell_width, _ = cells.shape

    # The pixels where rows and columns start, and last where the next ones would.
    top = LABEL if columns else GAP
    row_starts = _starts(top, row_count, cell_height)
    column_starts = _starts(LABEL, column_count, cell_width)
    height = row_starts[-1]
    width = column_starts[-1]

    # The images on a white canvas.
    canvas = np.ones((height, width, 3))
    for row in range(row_count):
        y = row_starts[row]
        bottom = y + cell_height
        for column in range(column_count):
            x = column_starts[column]
            right = x + cell_width
            canvas[y:bottom, x:right] = cells[row, column]

    # The canvas is drawn pixel by pixel: axes would resample it.
    inches = (width / DPI, height / DPI)
    figure = Figure(figsize=inches, dpi=DPI)
    figure.figimage(canvas, origin="upper")

    # The labels, beside the middle of each row and above that of each column.
    margin = LABEL / 2
    row_middles = row_starts + cell_height / 2
    for label, y in zip(rows, row_middles, strict=False):
        _label(figure, label, margin / width, 1 - y / height, "vertical")
    column_middles = column_starts + cell_width / 2
    for label, x in zip(columns, column_middles, strict=False):
        _label(figure, label, x / width, 1 - margin / height, "horizontal")
    return to_png(figure)


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Repeats the pixels of images [R, C, h, w, 3] as often as `CELL` has room for."""
    height = images.shape[2]
    zoom = max(1, CELL // height)
    tall = images.repeat(zoom, axis=2)
    return tall.repeat(zoom, axis=3)


def _starts(first: int, count: int, length: int) -> np.ndarray:
    """Where `count` cells of a length start, with gaps between them, and where one more would."""
    steps = np.arange(count + 1)
    return first + steps * (length + GAP)


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
    limits = (0, highest)
    return _draw_map(values, outlined, "magma", limits, edge_color="#00E5FF")


def diverging_map(values: np.ndarray, outlined: np.ndarray) -> bytes:
    """Values [h, w], red above 0 and blue below, with the outline of a bool [h, w]."""
    magnitude = np.abs(values)
    highest = max(magnitude.max(), 1e-12)
    limits = (-highest, highest)
    return _draw_map(values, outlined, "RdBu_r", limits, edge_color="#111111")


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
    image = axes.imshow(
        values,
        cmap=colors,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    borders = edges(outlined)
    outline = LineCollection(borders, colors=edge_color, linewidths=2.5)
    axes.add_collection(outline)
    axes.set_axis_off()
    bar = figure.colorbar(image, ax=axes, format="%.2g")
    bar.ax.tick_params(labelsize=FONT)
    return to_png(figure)


def edges(mask: np.ndarray) -> np.ndarray:
    """The borders between True and False pixels of `mask` [h, w], as E lines [E, 2, 2].

    A line is two points (x, y). Pixels are centered on whole numbers, as `imshow` puts them;
    outside of the image, the mask is False.
    """
    padded = np.pad(mask, 1).astype(int)

    # Horizontal lines, where a pixel differs from the one above it.
    differs = np.diff(padded, axis=0)
    y, x = np.nonzero(differs[:, 1:-1])
    left = x - 0.5
    right = x + 0.5
    top = y - 0.5
    horizontal = _lines((left, top), (right, top))

    # Vertical lines, where a pixel differs from the one on its left.
    differs = np.diff(padded, axis=1)
    y, x = np.nonzero(differs[1:-1])
    left = x - 0.5
    top = y - 0.5
    bottom = y + 0.5
    vertical = _lines((left, top), (left, bottom))
    return np.concatenate([horizontal, vertical])


def _lines(start: tuple[np.ndarray, ...], end: tuple[np.ndarray, ...]) -> np.ndarray:
    """Lines [E, 2, 2] between points whose x and y, [E] each, are given."""
    starts = np.stack(start, axis=-1)
    ends = np.stack(end, axis=-1)
    return np.stack([starts, ends], axis=1)


def line_panels(panels: list[Panel], x_label: str, names: list[str]) -> bytes:
    """Panels one under another, of at least one, over a common x axis and under one legend.

    `names` are the series of the legend, each in a color of its own (of seven, then repeated).
    """
    count = len(panels)
    height = PANEL_HEIGHT * count + LEGEND_HEIGHT
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")

    grid = figure.subplots(count, sharex=True, squeeze=False)
    column = grid[:, 0]
    for axes, panel in zip(column, panels, strict=True):
        _draw_panel(axes, panel)

    lowest = column[-1]
    lowest.set_xlabel(x_label, fontsize=FONT)
    _draw_legend(figure, names)
    return to_png(figure)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        # A single point is a dot: a line through it cannot be seen.
        marker = "o" if len(line.x) == 1 else ""
        axes.plot(
            line.x,
            line.y,
            line.style,
            marker=marker,
            color=_color(line.series),
            linewidth=2,
        )
    axes.set_title(panel.title, fontsize=FONT, loc="left")
    axes.set_yscale(panel.scale)
    axes.tick_params(labelsize=FONT, which="both")
    axes.grid(alpha=0.3)
    frame = axes.spines[["top", "right"]]
    frame.set_visible(False)


def _draw_legend(figure: Figure, names: list[str]) -> None:
    lines = []
    for series in range(len(names)):
        color = _color(series)
        line = Line2D([], [], color=color, linewidth=3)
        lines.append(line)
    # Labels are set afterwards: given at once, names such as _old would be left out.
    placeholders = ["name"] * len(names)
    legend = figure.legend(
        lines,
        placeholders,
        loc="outside upper left",
        ncols=3,
        fontsize=FONT,
        frameon=False,
    )
    texts = legend.get_texts()
    for text, name in zip(texts, names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _color(series: int) -> str:
    return COLORS[series % len(COLORS)]


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
