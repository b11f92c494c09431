"""A matrix of numbers as a picture."""

import numpy as np
from matplotlib.figure import Figure

from lens_jax.pages.figures import DPI, FONT, to_png

# In inches: a cell, and the space for the names.
CELL = 0.9
MARGIN = 1.8


def draw_matrix(values: np.ndarray, rows: list[str], columns: list[str]) -> bytes:
    """Values [R, C] from 0, dark, to 1, bright, with their numbers and the names of both sides."""
    height = MARGIN + CELL * len(rows)
    width = MARGIN + CELL * len(columns)
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="magma", vmin=0, vmax=1, aspect="auto")

    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        # Readable on either end of the colors.
        color = "black" if value > 0.6 else "white"
        axes.text(column, row, f"{value:.2f}", color=color, ha="center", va="center", fontsize=FONT)

    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.tick_params(labelsize=FONT)
    return to_png(figure)
