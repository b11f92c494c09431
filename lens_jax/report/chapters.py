"""The chapters of the page: what is told, in which order and in which words."""

import shlex
from typing import Any

from lens_jax.pages import html
from lens_jax.pages.html import Part
from lens_jax.report import pictures, runs
from lens_jax.report.pictures import Look
from lens_jax.report.runs import Numbers, Run

TITLE = "What the lens removed"
LEAD = (
    "A lens is a small network that redraws every image before the feature extractor sees it. It learns to "
    "take away what makes the pretext task too easy and to leave the rest as it is. Below, images stand "
    "beside what the lens made of them."
)
GLOSSARY = (
    "Linear accuracy: how well a linear classifier names the classes from the frozen features. Pretext: how "
    "often the extractor solves the task it was trained on, for images without a shortcut and with one; high "
    "with it and low without it means that the extractor looks at the shortcut; a task without classes has "
    "none. Lens: what altered images in training, a network (the lens) or, to compare it with, perturbations "
    "that are random or found by fgsm or pgd; runs with these are judged on images as they are."
)
MEASURES = {
    "linear_accuracy": "linear accuracy",
    "pretext_accuracy_clean": "pretext clean",
    "pretext_accuracy_shortcut": "pretext with shortcut",
    "seconds": "seconds",
    "recovered": "recovered",
}
PATCHES = (
    "The task shows the extractor nine patches of an image. They are laid out here as they lie in it, "
    "without what is between them."
)
UNKNOWN = "-"


def tell(
    workdir: str, found: list[Run], looks: dict[str, Look], numbers: dict[str, Numbers]
) -> list[Part]:
    """The whole page on the runs `found` in `workdir`; `looks` and `numbers` are by their names."""
    parts: list[Part] = [html.paragraph(LEAD), *compare(found, numbers)]
    for run in found:
        parts += (
            lens_chapter(run.name, looks[run.name], numbers[run.name]) if run.name in looks else []
        )
    if not looks:
        parts.append(
            html.paragraph("No lens was trained here, so there is nothing removed to show.")
        )
    curves = pictures.curve_pictures(found) or html.paragraph("Nothing was logged yet.")
    return [*parts, html.heading("Training"), curves, *_settings(found), *_commands(workdir, found)]


def compare(found: list[Run], numbers: dict[str, Numbers]) -> list[Part]:
    """The table of the runs, and in words what each lens or attack recovered."""
    header = [
        "run",
        *MEASURES.values(),
        "data set",
        "task",
        "shortcut",
        "lens",
        "objective",
        "epochs",
    ]
    rows = [[run.name, *_cells(numbers[run.name]), *_described(run)] for run in found]
    sentences = [_recovery(run, found, numbers[run.name]) for run in found]
    return [
        html.heading("The runs" if len(found) > 1 else "The run"),
        html.table(header, rows),
        *map(html.paragraph, (sentence for sentence in sentences if sentence)),
        html.paragraph(GLOSSARY),
    ]


def text_table(numbers: dict[str, Numbers]) -> str:
    """The numbers of each run, by its name, as columns of plain text."""
    rows = [["run", *MEASURES.values()], *([name, *_cells(each)] for name, each in numbers.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def _described(run: Run) -> list[str]:
    config = run.config
    objective = UNKNOWN if run.kind in ("none", "random") else config["lens"]["objective"]
    epochs = f"{run.rows[-1]['epoch']:.1f}" if run.rows else UNKNOWN
    return [
        config["data"]["name"],
        config["task"]["name"],
        config["shortcut"],
        run.kind,
        objective,
        epochs,
    ]


def _cells(numbers: Numbers) -> list[str]:
    return [_shown(key, numbers[key]) if key in numbers else UNKNOWN for key in MEASURES]


def _shown(key: str, value: float) -> str:
    return f"{value:.0f}" if key == "seconds" else f"{100 * value:.1f} %"


def _recovery(run: Run, found: list[Run], numbers: Numbers) -> str | None:
    references = runs.find_references(run, found)
    if references is None or "recovered" not in numbers:
        return None
    altered, shortcut, clean = (
        100 * each.evaluation["linear_accuracy"] for each in (run, *references)
    )
    by = "the lens" if run.has_lens else f"{run.kind} perturbations"
    return (
        f"{run.name} recovered {100 * numbers['recovered']:.0f} % of what the shortcut cost: linear accuracy "
        f"is {clean:.1f} % without the shortcut ({references.clean.name}), {shortcut:.1f} % with it "
        f"({references.shortcut.name}), and {altered:.1f} % with it and {by}."
    )


def lens_chapter(name: str, look: Look, numbers: Numbers) -> list[Part]:
    """What the lens of the run `name` does to images."""
    views = pictures.view_pictures(name, look)
    return [
        html.heading(f"The lens of run {name}"),
        *_pretext_through_lens(numbers),
        *([html.paragraph(PATCHES)] if look.patches else []),
        html.paragraph(pictures.difference_key(look)),
        *([html.subheading("The same image in every view"), views] if views else []),
        html.subheading("Images"),
        pictures.example_pictures(name, look),
        html.subheading("Where it changes images"),
        *_share_in_mask(numbers),
        pictures.map_pictures(name, look.change),
        html.subheading("What it changes most and least"),
        pictures.ranked_pictures(name, look.change),
    ]


def _pretext_through_lens(numbers: Numbers) -> list[Part]:
    if not {"pretext_accuracy_clean_lensed", "pretext_accuracy_shortcut_lensed"} <= numbers.keys():
        return []
    clean, shortcut = (
        numbers["pretext_accuracy_clean_lensed"],
        numbers["pretext_accuracy_shortcut_lensed"],
    )
    return [
        html.paragraph(
            f"Through the lens, the extractor solves the pretext task in {100 * clean:.1f} % of the cases "
            f"without the shortcut and in {100 * shortcut:.1f} % of those with it."
        )
    ]


def _share_in_mask(numbers: Numbers) -> list[Part]:
    if "change_share_in_mask" not in numbers:
        return []
    mask, places = (
        (100 * numbers[f"change_share_in_{where}"], 100 * numbers[f"{where}_share"])
        for where in ("mask", "places")
    )
    return [
        html.paragraph(
            f"{mask[0]:.1f} % of the squared change lies inside the shortcut's mask, which covers "
            f"{mask[1]:.1f} % of the pixels; {places[0]:.1f} % lies in the places where the shortcut can be "
            f"in some view, {places[1]:.1f} % of the pixels."
        )
    ]


def _settings(found: list[Run]) -> list[Part]:
    differing = runs.differing_settings(found)
    if not differing:
        return []
    rows = [[key, *map(_setting, values)] for key, values in differing.items()]
    return [
        html.heading("Settings that differ"),
        html.table(["setting", *(run.name for run in found)], rows),
    ]


def _setting(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


def _commands(workdir: str, found: list[Run]) -> list[Part]:
    folder = shlex.quote(workdir)
    look = f"python -m lens_jax.report --workdir={folder}\ntensorboard --logdir={folder}"
    again = [
        html.folded(f"Train {run.name} again", html.command(runs.training_command(run)))
        for run in found
    ]
    return [html.heading("Look further"), html.command(look), *again]
