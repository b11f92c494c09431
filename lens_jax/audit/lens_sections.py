"""The second screen of the page: what lenses that were trained on the images remove from them."""

from typing import Any

from lens_jax.audit import lens_pictures
from lens_jax.audit.kept import load_arrays
from lens_jax.audit.lens_parts import CHECKPOINT, VIEW
from lens_jax.audit.lens_words import describe_kind, summarize, tell_kind
from lens_jax.audit.state import Audit, Result
from lens_jax.pages import page
from lens_jax.pages.page import Part, printable

LEAD = (
    "A lens is a small network that changes images as little as it can, so that another network, "
    "which learns a task from them at the same time, can no longer solve it. What it removes is "
    "what that network looks at: first of all the easy things. Beside each number stands that of "
    "a lens whose network was given shuffled answers, so that there was nothing to learn, and of a "
    "lens of random numbers that changes images as strongly."
)
NOT_ASKED = (
    "No lens was trained (--minutes=0): what follows from marks that move, and from shortcuts of "
    "tasks without labels, is not on this page. --minutes=10 trains lenses for ten minutes."
)
NO_FINDING = (
    "None of these kinds looks like a mark: small, the same wherever it is, and more frequent in "
    "one class, or worth something to the network. Parts of objects are removed too, and that is "
    "no finding."
)


def lens_section(audit: Audit) -> list[Part]:
    """All that was learned from lenses, a subsection a task; what is missing is named above."""
    parts: list[Part] = [page.heading("What does a lens remove?")]
    views = {}
    for part in audit.parts:
        if part.name.startswith(VIEW):
            views[part.name] = part
    if not views:
        return [*parts, page.paragraph(NOT_ASKED)]
    parts.append(page.paragraph(LEAD))
    told = {}
    for name in views:
        result = audit.results.get(name)
        title = _title(name)
        if result is None:
            parts.append(page.paragraph(f"{title}: not finished yet."))
        elif result["why_not"]:
            parts.append(page.paragraph(f"{title}: not trained, as {result['why_not']}."))
        else:
            told[name] = result
    if told:
        parts += _compare_tasks(audit, told)
    for name, result in told.items():
        parts += _task_section(audit, name, result)
    return parts


def _title(name: str) -> str:
    task = name.removeprefix(VIEW)
    return "the given lens" if task == CHECKPOINT else task.replace("_", " ")


def _heading(name: str) -> str:
    title = _title(name)
    return title.capitalize() if name.endswith(CHECKPOINT) else f"The lens of {title}"


def _compare_tasks(audit: Audit, results: dict[str, Result]) -> list[Part]:
    """The tasks side by side: how much each lens changes, and what it costs the network."""
    header = [
        "task",
        "steps",
        "mean change",
        "where nothing can be learned",
        "right answers",
        "through the lens",
        "where nothing can be learned",
        "kinds",
        "of these, marks",
    ]
    rows = []
    for name, result in results.items():
        lenses = result["lenses"]
        accuracy = result["accuracy"]
        rows.append(
            [
                _title(name),
                f"{result['step']:,}",
                f"{lenses['trained']['change']:.2g}",
                f"{lenses['shuffled']['change']:.2g}" if "shuffled" in lenses else "",
                _percent(accuracy, "raw"),
                _percent(accuracy, "lensed"),
                _percent(accuracy, "null"),
                str(len(result["kinds"])),
                str(sum(kind["is_mark"] for kind in result["kinds"])),
            ]
        )
    titled = {_title(name): result for name, result in results.items()}
    first = next(iter(results.values()))
    note = (
        f"Change is the mean squared change of pixels in [-1, 1], over {first['images']:,} images. "
        "Right answers are counted on images that were held out from training. A shortcut that "
        "only one task needs shows with that task alone."
    )
    return [
        page.table(header, rows),
        page.paragraph(note),
        [lens_pictures.distribution_picture(titled)],
    ]


def _percent(numbers: dict[str, float], name: str) -> str:
    return f"{100 * numbers[name]:.0f} %" if name in numbers else ""


def _task_section(audit: Audit, name: str, result: Result) -> list[Part]:
    arrays = load_arrays(audit.output, name, result["arrays"])
    parts: list[Part] = [
        page.subheading(_heading(name)),
        page.paragraph(summarize(result)),
        _concentration_table(result),
        lens_pictures.map_pictures(name, list(result["lenses"]), arrays),
    ]
    parts += _kinds_parts(name, result, arrays)
    if len(result["classes"]) > 1:
        parts += _classes_parts(result)
    for key, words in (("most", "changed most"), ("drawn", "drawn at random")):
        shown = lens_pictures.gallery_pictures(name, key, result["shown"][key], arrays)
        summary = f"The {len(result['shown'][key])} images {words}"
        parts.append(page.folded(summary, page.gallery(shown)))
    return parts


def _concentration_table(result: Result) -> page.Html:
    header = [
        "fraction of the change",
        "in 1 % of each image",
        "in 5 %",
        "in 1 % of the mean",
        "in 5 %",
    ]
    rows = []
    for key, numbers in result["lenses"].items():
        names = ("each_1", "each_5", "mean_1", "mean_5")
        rows.append([lens_pictures.LENSES[key], *[_percent(numbers, each) for each in names]])
    return page.table(header, rows)


def _kinds_parts(name: str, result: Result, arrays: dict[str, Any]) -> list[Part]:
    kinds = result["kinds"]
    if not kinds:
        return [page.paragraph("The strongest changes have nothing in common: there are no kinds.")]
    shown = []
    for number, kind in enumerate(kinds):
        caption = f"Kind {number + 1}{' (a mark)' if kind['is_mark'] else ''}: "
        caption += describe_kind(kind, result)
        shown.append(lens_pictures.kind_picture(name, number, arrays, caption))
    marks = [kind for kind in kinds if kind["is_mark"]]
    sentences = [tell_kind(kind, result) for kind in marks] or [NO_FINDING]
    lead = (
        "The strongest changes, sorted into kinds by size, color, spectrum and, with less weight, "
        "place. Each picture shows six examples, and at the right what the lens adds on average."
    )
    return [
        page.paragraph(lead),
        shown,
        *[page.paragraph(sentence) for sentence in sentences],
    ]


def _classes_parts(result: Result) -> list[Part]:
    header = ["class", "images", "mean change", "95 % interval"]
    rows = []
    for each in sorted(result["classes"], key=lambda each: -each["change"]):
        interval = f"{each['low']:.2g} to {each['high']:.2g}"
        name = printable(each["name"])
        rows.append([name, f"{each['images']:,}", f"{each['change']:.2g}", interval])
    return [page.folded("How much each class is changed", page.table(header, rows))]
