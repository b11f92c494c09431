"""The sections of the page: their order, their tables and their sentences."""

import importlib.metadata
import platform
import shlex
from typing import Any

from lens_jax.audit import acting, headline, lens_words, outcome, pictures
from lens_jax.audit.folder import MAX_CLASSES, MAX_IMAGES
from lens_jax.audit.inventory import reading_section
from lens_jax.audit.lens_sections import lens_section
from lens_jax.audit.probes import BESIDE, LOOKS, PROBES, TRACE
from lens_jax.audit.separation import FOLDS, LEVEL, SHUFFLES
from lens_jax.audit.state import LEAST_IMAGES, Audit
from lens_jax.data.records import fingerprint
from lens_jax.pages import page
from lens_jax.pages.page import Part, printable

TITLE = "What your images give away"
PROBES_LEAD = (
    "A probe is a small program that sees only one thing of an image and has to name its label. "
    "It is shown two images, one of a class and one of another, and picks one: guessing gets 50 of "
    "100 pairs right. Beside each number is what the same program reaches when the labels are "
    "shuffled, so that nothing can be learnt."
)
READINGS = {
    BESIDE: (
        "the probe sees nothing of the picture. If it succeeds, the classes were collected, named "
        "or stored differently. A network does not see file names, but it does see what sizes, "
        "cameras and JPEG qualities leave in the pixels."
    ),
    TRACE: (
        "the probe sees what cameras and programs leave in the pixels, or what lies at the edge. "
        "It may still be the object: fur is less smooth than sky, and takes more bytes. It is "
        "called beyond looks where it tells a class better than all coarse looks do: such a class "
        "deserves a look at its images."
    ),
    LOOKS: (
        "the probe sees coarse looks, which belong to most objects: on clean photographs of "
        "clothes, brightness alone tells sandals from the rest in 92 of 100 pairs. Success here "
        "is expected, and only says how far a network comes without looking closely."
    ),
}
MAPS_LEAD = (
    "Left the mean of a class's images, right how well each single pixel tells that class from all "
    "others: black tells nothing, pale yellow everything. Objects make wide, soft areas. A sharp "
    "small spot at a place where there is no object is a mark: a logo, a date, a label. The frame "
    "is drawn where the map stands out most from what is around it: on an object it is only the "
    "part that tells it best."
)


def all_sections(audit: Audit, images: str, labels: str) -> list[Part]:
    """The whole page; what is not finished is named."""
    parts: list[Part] = [page.lead(headline.headline(audit))]
    of_lenses = lens_words.headline(audit)
    if of_lenses:
        parts.append(page.paragraph(of_lenses))
    missing = [part.doing for part in audit.missing]
    if missing:
        parts.append(
            page.paragraph(
                f"This page is not finished. Missing: {', '.join(missing)}. The same command goes "
                "on from here."
            )
        )
    if "reading" in audit.results:
        parts += reading_section(audit)
    if "probes" in audit.results:
        parts += probes_section(audit)
    if "maps" in audit.results:
        parts += maps_section(audit)
    parts += lens_section(audit)
    if "marks" in audit.results:
        parts += acting.marks_section(audit)
        parts += acting.findings_section(audit)
    if "advice" in audit.results:
        parts += acting.advice_section(audit)
    parts += acting.limits_section(audit)
    parts += end_section(audit, images, labels)
    return parts


def probes_section(audit: Audit) -> list[Part]:
    """The blind probes: what they are, a chart, all numbers, and how to read them."""
    result = audit.results["probes"]
    parts: list[Part] = [page.heading("Can the label be told without seeing the object?")]
    found = outcome.answers(audit)
    if not found:
        return [*parts, page.paragraph(f"This was not asked: {headline.why_not_asked(audit)}.")]
    parts.append(page.paragraph(PROBES_LEAD))
    parts.append([pictures.probe_picture(found)])

    header = [
        "the program sees",
        "what that is",
        "result",
        "right of 100",
        "95 % interval",
        "shuffled reach",
        "best class",
        "mean of classes",
    ]
    rows = []
    for answer in found:
        best = answer.best
        rows.append(
            [
                answer.title,
                answer.meaning,
                _describe_result(answer),
                _percent(best["value"]),
                f"{_percent(best['low'])} to {_percent(best['high'])}",
                _percent(best["null_highest"]),
                answer.label,
                _percent(answer.macro["value"]),
            ]
        )
    parts.append(page.table(header, rows))
    parts.append(page.subheading("A number is not yet a finding"))
    parts.append(page.paragraph("What success means depends on what the probe sees."))
    for meaning, text in READINGS.items():
        parts.append(page.paragraph(f"{meaning.capitalize()}: {text}"))
    parts += [page.paragraph(sentence) for sentence in _protocol(audit, result)]
    return parts


def _describe_result(answer: outcome.Answer) -> str:
    if not answer.is_told:
        return "as shuffled labels"
    return "beyond looks" if answer.beyond_looks else "beyond luck"


def maps_section(audit: Audit) -> list[Part]:
    """The mean image and the information map of each class."""
    result = audit.results["maps"]
    if not result["classes"]:
        return []
    outlined = outcome.adjusted_p(audit).get(outcome.MAP, 1.0) <= LEVEL
    shown = pictures.class_pictures(result, outlined)
    if "maps" not in result:
        return [page.heading("The mean image"), shown]
    null = (
        f"With shuffled labels, the best of all pixels reached {result['null_highest']:.2f} of 1 "
        f"in {SHUFFLES} tries."
    )
    if not outlined:
        null += " No class has a pixel that stands out from that, so no frame is drawn."
    return [
        page.heading("Where is it?"),
        page.paragraph(MAPS_LEAD),
        page.paragraph(null),
        shown,
    ]


def end_section(audit: Audit, images: str, labels: str) -> list[Part]:
    """How to make the page again: command, versions, seed, and a fingerprint of the data."""
    words = ["python", "-m", "lens_jax.audit", f"--images={images}", f"--output={audit.output}"]
    if labels:
        words.append(f"--labels={labels}")
    words.append(f"--seed={audit.seed}")
    versions = [f"Python {platform.python_version()}"]
    for package in ("lens_jax", "numpy", "scikit-learn", "opencv-python-headless", "pillow"):
        versions.append(f"{package} {_version(package)}")
    lines = [", ".join(versions)]
    columns = audit.results.get("reading", {}).get("columns")
    if columns:
        contents = [*audit.folder.paths, *columns["bytes_digest"], *audit.folder.labels]
        lines.append(f"data {fingerprint(contents)}, of the names, bytes and labels of all files")
    return [
        page.heading("How this page was made"),
        page.command(printable(shlex.join(words))),
        *[page.paragraph(line) for line in lines],
    ]


def _protocol(audit: Audit, result: dict[str, Any]) -> list[str]:
    """What was done, and with which images, in sentences."""
    asked = len(result["probes"]) + 1
    sentences = [
        f"Looked at: {result['images']:,} different images of {len(result['classes']):,} classes. "
        f"Each number is of images that the program was not fitted to ({FOLDS} folds). Beyond luck "
        f"means that the shuffles of all {asked} questions together (probes, and the map below) "
        f"would reach as far in fewer than {100 * LEVEL:.0f} of 100 such pages (p-values of "
        f"{SHUFFLES} shuffles, adjusted by Holm's method)."
    ]
    if result["left_out"]["classes"]:
        sentences.append(
            f"{result['left_out']['classes']:,} classes were not looked at: no more than the "
            f"{MAX_CLASSES} largest are, and those with fewer than {LEAST_IMAGES} different images "
            "are too small."
        )
    if result["left_out"]["images"]:
        sentences.append(
            f"{result['left_out']['images']:,} images were not looked at: of those classes, "
            f"without a label, broken, duplicates, or beyond {MAX_IMAGES:,} in all."
        )
    if result["constant"]:
        titles = ", ".join(PROBES[name].title for name in result["constant"])
        sentences.append(f"The same for all images, so not asked: {titles}.")
    return sentences


def _percent(auc: float) -> str:
    return f"{100 * auc:.1f}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
