"""The training curves of runs, from the rows of their metrics."""

from typing import NamedTuple

from lens_jax.pages import figures
from lens_jax.pages.figures import Line, Panel
from lens_jax.pages.page import Picture
from lens_jax.report.runs import TrainedRun

Rows = list[dict[str, float]]


class PanelMetrics(NamedTuple):
    """A panel of curves: its title, its scale, and the line style of each metric in it."""

    title: str
    scale: str
    styles: dict[str, str]


PANELS = (
    PanelMetrics("pretext loss", "linear", {"loss": "-"}),
    PanelMetrics("pretext accuracy, %", "linear", {"accuracy_lensed": "-", "accuracy_raw": "--"}),
    PanelMetrics("mean squared change of images", "log", {"lens_reconstruction": "-"}),
    PanelMetrics("lambda, the weight of the change", "log", {"lens_penalty": "-"}),
    PanelMetrics(
        "accuracy of probe, and of kNN (dashed), %",
        "linear",
        {"probe_accuracy": "-", "knn_accuracy": "--"},
    ),
    PanelMetrics(
        "std of embeddings, and features (dashed)",
        "linear",
        {"embedding_std": "-", "feature_std": "--"},
    ),
    PanelMetrics(
        "rank of embeddings, and features (dashed)",
        "log",
        {"embedding_rank": "-", "rankme": "--"},
    ),
    PanelMetrics(
        "alignment, and uniformity (dashed)",
        "linear",
        {"alignment": "-", "uniformity": "--"},
    ),
    PanelMetrics("alpha-ReQ of features", "linear", {"alpha_req": "-"}),
    PanelMetrics(
        "absolute equivariance, on test images dashed",
        "linear",
        {"absolute_equivariance_raw": "-", "test_absolute_equivariance": "--"},
    ),
    PanelMetrics(
        "relative equivariance, on test images dashed",
        "linear",
        {"relative_equivariance_raw": "-", "test_relative_equivariance": "--"},
    ),
)


def curve_pictures(runs: list[TrainedRun]) -> list[Picture]:
    """The training curves of all runs in one picture; none where nothing was logged."""
    rows_by_run = {}
    for run in runs:
        if run.rows:
            rows_by_run[run.name] = _plotted_rows(run)
    if not rows_by_run:
        return []

    caption = "Measured on training images."
    if any(run.kind != "none" for run in runs):
        caption += " Pretext accuracy: solid on altered images, dashed on images as they are."

    alt = "training curves: pretext loss, pretext accuracy, and how much images are changed"
    png = draw_curves(rows_by_run)
    return [Picture("curves.png", png, alt, caption)]


def _plotted_rows(run: TrainedRun) -> Rows:
    """A run's rows; without the penalty where it is a setting that never changes."""
    if run.config["lens"]["budget"] == "target":
        return run.rows
    plotted = []
    for row in run.rows:
        plotted.append({name: row[name] for name in row if name != "lens_penalty"})
    return plotted


def draw_curves(rows_by_run: dict[str, Rows]) -> bytes:
    """The metrics of each run, by its name, against the epoch; a PNG.

    A panel that no run has anything for is left out; some run must have a loss.
    """
    panels = []
    for title, scale, styles in PANELS:
        lines = []
        for series, rows in enumerate(rows_by_run.values()):
            for metric, style in styles.items():
                lines += _lines(series, rows, metric, style)
        if lines:
            panels.append(Panel(title, scale, lines))
    return figures.line_panels(panels, "epoch", list(rows_by_run))


def _lines(series: int, rows: Rows, metric: str, style: str) -> list[Line]:
    """The line of a metric of one run; none where it was not logged."""
    # Accuracies are drawn in percent.
    factor = 100 if "accuracy" in metric else 1
    epochs = []
    values = []
    for row in rows:
        if metric in row:
            epochs.append(row["epoch"])
            values.append(factor * row[metric])
    if not epochs:
        return []
    return [Line(series, epochs, values, style)]
