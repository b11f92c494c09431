"""Arrays as PNG files."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

DPI = 120
WIDTH = 7.0
FONT = 16
GAP = 8
LABEL = 44
CELL = 180  # pixels that a small image is enlarged to, at most
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
PANELS = (
    ("pretext loss", "linear", {"loss": "-"}),
    ("pretext accuracy, %", "linear", {"accuracy_lensed": "-", "accuracy_raw": "--"}),
    ("mean squared change of images", "log", {"lens_reconstruction": "-"}),
    ("lambda, the weight of the change", "log", {"lens_penalty": "-"}),
)


def to_light(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as a screen shows them, in [0, 1]; what lies outside is clipped."""
    return np.clip((images + 1) / 2, 0, 1)


def difference_scale(difference: np.ndarray) -> float:
    """The change that `signed_difference` should show at full strength; the largest 0.5 % are cut off."""
    return max(float(np.percentile(np.abs(difference), 99.5)), 1e-6)


def signed_difference(difference: np.ndarray, scale: float) -> np.ndarray:
    """Change of any shape as light in [0, 1]: 0.5 is none, 1 is +`scale` or more, 0 is -`scale` or less."""
    return np.clip(0.5 + difference / (2 * scale), 0, 1)


def image_grid(images: np.ndarray, rows: list[str], columns: list[str]) -> bytes:
    """Images [R, C, h, w, 3] in [0, 1] as a labeled table: R labels on the left, C above (or
    none).

    Small images are enlarged by a whole number, so that their pixels stay what they are.
    """
    zoom = max(1, CELL // images.shape[2])
    cells = images.repeat(zoom, axis=2).repeat(zoom, axis=3)
    step_y, step_x = cells.shape[2] + GAP, cells.shape[3] + GAP
    top = LABEL if columns else GAP
    canvas = np.ones((top + len(cells) * step_y, LABEL + cells.shape[1] * step_x, 3))
    for row, column in np.ndindex(cells.shape[:2]):
        y, x = top + row * step_y, LABEL + column * step_x
        canvas[y : y + step_y - GAP, x : x + step_x - GAP] = cells[row, column]
    middles_y = [top + (row + 0.5) * step_y - GAP / 2 for row in range(len(rows))]
    middles_x = [LABEL + (column + 0.5) * step_x - GAP / 2 for column in range(len(columns))]
    return _labeled(
        canvas, dict(zip(middles_y, rows, strict=True)), dict(zip(middles_x, columns, strict=True))
    )


def _labeled(canvas: np.ndarray, rows: dict[float, str], columns: dict[float, str]) -> bytes:
    """A canvas [H, W, 3] pixel by pixel, with labels in its left and upper margins, by pixel position."""
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(canvas, origin="upper")
    style = {"ha": "center", "va": "center", "fontsize": FONT, "parse_math": False}
    for y, label in rows.items():
        figure.text(LABEL / 2 / width, 1 - y / height, label, rotation="vertical", **style)
    for x, label in columns.items():
        figure.text(x / width, 1 - LABEL / 2 / height, label, **style)
    return _png(figure)


def squared_map(values: np.ndarray, outlined: np.ndarray) -> bytes:
    """Mean squared change [h, w] as a heat map; the edge of `outlined`, bool [h, w], is drawn over it."""
    return _heat_map(values, outlined, "magma", (0, max(values.max(), 1e-12)), "#00E5FF")


def signed_map(values: np.ndarray, outlined: np.ndarray) -> bytes:
    """Mean signed change [h, w], red where the lens added light and blue where it removed some."""
    limit = max(np.abs(values).max(), 1e-12)
    return _heat_map(values, outlined, "RdBu_r", (-limit, limit), "#111111")


def _heat_map(
    values: np.ndarray, outlined: np.ndarray, colors: str, limits: tuple[float, float], edge: str
) -> bytes:
    figure = Figure(figsize=(WIDTH * 0.8, WIDTH * 0.65), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        values, cmap=colors, vmin=limits[0], vmax=limits[1], interpolation="nearest"
    )
    axes.add_collection(LineCollection(edges(outlined), colors=edge, linewidths=2.5))
    axes.set_axis_off()
    figure.colorbar(image, ax=axes, format="%.2g").ax.tick_params(labelsize=FONT)
    return _png(figure)


def edges(mask: np.ndarray) -> np.ndarray:
    """The borders between True and False pixels of `mask` [h, w]: [E, 2, 2], E lines of two points
    (x, y).

    Pixels are centerd on whole numbers, as `imshow` puts them; outside of the image, the mask is
    False.
    """
    padded = np.pad(mask, 1).astype(int)
    y, x = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    horizontal = np.stack([x - 0.5, y - 0.5, x + 0.5, y - 0.5], axis=-1)
    y, x = np.nonzero(np.diff(padded, axis=1)[1:-1])
    vertical = np.stack([x - 0.5, y - 0.5, x - 0.5, y + 0.5], axis=-1)
    return np.concatenate([horizontal, vertical]).reshape(-1, 2, 2)


def curves(histories: dict[str, list[dict[str, float]]]) -> bytes:
    """The metrics' rows of each run, by its name, against the epoch: one panel under another.

    A panel that no run has anything for is left out; some run must have a loss.
    """
    logged = {name for rows in histories.values() for row in rows for name in row}
    panels = [panel for panel in PANELS if logged & panel[2].keys()]
    figure = Figure(figsize=(WIDTH, 3.2 * len(panels) + 0.7), dpi=DPI, layout="constrained")
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (title, scale, styles) in zip(all_axes, panels, strict=True):
        _panel(axes, histories, styles)
        axes.set_title(title, fontsize=FONT, loc="left")
        axes.set_yscale(scale)
    all_axes[-1].set_xlabel("epoch", fontsize=FONT)
    _legend(figure, list(histories))
    return _png(figure)


def _panel(
    axes: Axes, histories: dict[str, list[dict[str, float]]], styles: dict[str, str]
) -> None:
    for index, rows in enumerate(histories.values()):
        for metric, line in styles.items():
            points = [(row["epoch"], row[metric]) for row in rows if metric in row]
            epochs, values = np.array(points).reshape(-1, 2).T
            percent = 100 if metric.startswith("accuracy") else 1
            # A run that was logged once is a dot: a line through one point cannot be seen.
            marker = "o" if len(points) == 1 else ""
            axes.plot(
                epochs, percent * values, line, marker=marker, color=_color(index), linewidth=2
            )
    axes.tick_params(labelsize=FONT, which="both")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, names: list[str]) -> None:
    lines = [Line2D([], [], color=_color(index), linewidth=3) for index in range(len(names))]
    # Labels are set afterwards: given at once, names such as _old would be left out.
    legend = figure.legend(
        lines, ["run"] * len(lines), loc="outside upper left", ncols=3, fontsize=FONT, frameon=False
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
