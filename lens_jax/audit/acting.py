"""The sections to act on: findings, what helps, and what this audit cannot see."""

from typing import Any

from lens_jax.audit import comparison, pictures
from lens_jax.audit.findings import Finding, describe_changed, find_all, find_marked
from lens_jax.audit.headline import describe_place
from lens_jax.audit.known import is_found
from lens_jax.audit.marks import FRACTIONS
from lens_jax.audit.state import Audit
from lens_jax.pages import page
from lens_jax.pages.page import Part, printable

FINDINGS_LEAD = (
    "The score is in points of 100 pairs: how many more of 100 pairs are told right, one image of "
    "the class and one of another, than luck reaches. 0 is luck, 50 is every pair. "
    "--fail_above=SCORE makes the command fail above a score, for scripts."
)
MARKS_LEAD = (
    "Into copies of these images, marks were planted: a small square, a text, a color fringe, a "
    "low JPEG quality, noise, a blur. For each, a small program learnt to tell the copies from the "
    "images of all classes but one, and was then asked of that one. An image is flagged where it "
    "scores higher than 20, 50 or 80 of 100 copies do, whichever sets the class most apart. "
    "Objects may be like a mark, so a class is a finding only where it is flagged more often than "
    "the next one by more than luck explains, and by more than the last column says."
)
ADVICE_LEAD = (
    "Copies of {images:,} of the images were treated and saved anew, in one format and without "
    "what cameras and programs write into files, and all was measured again: the score of each "
    "finding before and after, and what that takes away from the images. 0.0 means that it is not "
    "found any more: a color cast stays one when JPEG has hidden its traces."
)
LIMITS_LEAD = (
    'Marks were planted into copies of images of "{label}", in so many of them, and the page '
    "looked for them as it looked at the images themselves. Squares are white; moving ones lie "
    "anywhere in the border. What was not found here would not have been found in your images "
    "either."
)
BLIND = (
    "Shortcuts that are the same in all classes, such as one that tells how an image was turned, "
    "are not in any of these numbers: the probes look for relations with the label. Marks of other "
    "kinds are found only at one place, or by what they do to the statistics that the probes see. "
    "Duplicates that were cropped, turned or mirrored are not found. Labels that are wrong are not "
    "found. And a probe that is no better than shuffled labels has not shown that there is "
    "nothing: smaller effects than what shuffled labels reach stay hidden."
)


def findings_section(audit: Audit) -> list[Part]:
    """All findings, with their scores and places."""
    findings = find_all(audit)
    parts: list[Part] = [page.heading("What deserves a look")]
    if not findings:
        parts.append(
            page.paragraph("Nothing, within the limits that are named under what it cannot see.")
        )
        return parts
    rows = []
    for each in findings:
        place = describe_place(each.box) if each.box else ""
        rows.append([each.title, each.kind, each.label, f"{each.score:.1f}", place])
    parts.append(page.paragraph(FINDINGS_LEAD))
    parts.append(page.table(["what", "kind", "class", "score", "where"], rows))
    marked = find_marked(audit)
    if marked:
        parts.append(
            page.paragraph(
                f"{len(marked):,} images with one of these marks are named in flagged.csv."
            )
        )
    return parts


def marks_section(audit: Audit) -> list[Part]:
    """How often each kind of mark is found in the class that has it most, and the next."""
    kinds = audit.results["marks"]["kinds"]
    if not kinds:
        return changed_section(audit)
    rows = []
    for each in kinds:
        rows.append(
            [
                each["kind"],
                printable(each["class"]),
                f"{100 * each['rate']:.1f}",
                f"{100 * each['next']:.1f}",
                "a finding" if is_found(each) else "ordinary",
                f"{100 * each['least']:.0f}",
            ]
        )
    header = ["mark", "most in", "of 100 flagged", "next class", "result", "least difference"]
    return [
        page.heading("Does one class carry a mark?"),
        page.paragraph(MARKS_LEAD),
        page.table(header, rows),
        *changed_section(audit),
    ]


def changed_section(audit: Audit) -> list[Part]:
    """Images whose colors were changed after they were stored, beside others."""
    changed = audit.results["marks"]["changed"]
    if not changed:
        return []
    return [
        page.heading("Were colors changed?"),
        page.paragraph(
            f"{100 * changed['rate']:.0f} of 100 images have {describe_changed(changed)}. A factor "
            "that is applied to stored values leaves levels out, or maps two to one: in these "
            "images, the same levels of a color stand out in the histogram. All are in flagged.csv."
        ),
        [pictures.examples_picture(changed["examples"])],
    ]


def advice_section(audit: Audit) -> list[Part]:
    """What helps, with its measured effect."""
    result = audit.results["advice"]
    if not result["findings"]:
        return []
    header = ["treatment"]
    for each in result["findings"]:
        header.append(f"{each['title']}, {each['label']}")
    header += ["changes a pixel by", "removes", "8 x 8 pixels tell"]
    before = [f"{each['before']:.1f}" for each in result["findings"]]
    rows = [["as they are", *before, "", "", f"{100 * result['looks']:.1f}"]]
    for each in result["treatments"]:
        scores = [f"{score:.1f}" for score in each["after"]]
        changes = f"{each['changes']:.1f} of 255" if each["changes"] else "-"
        removes = f"{100 * each['removes']:.0f} %"
        looks = f"{100 * each['looks']:.1f}"
        rows.append([each["title"], *scores, changes, removes, looks])
    return [
        page.heading("What helps"),
        page.paragraph(ADVICE_LEAD.format(images=result["images"])),
        page.table(header, rows),
    ]


def limits_section(audit: Audit) -> list[Part]:
    """Which planted marks were found, and what nothing here can see."""
    parts: list[Part] = [page.heading("What this page cannot see")]
    result = audit.results.get("marks")
    if result is None:
        parts.append(page.paragraph("Which marks it would find is not measured yet."))
    elif not result["limits"]:
        parts.append(page.paragraph("There are too few images to plant marks into them."))
    else:
        label = printable(result["limits"][0]["class"])
        parts.append(page.paragraph(LIMITS_LEAD.format(label=label)))
        header = ["mark", *[f"in {100 * fraction:.0f} %" for fraction in FRACTIONS]]
        rows = [_limit_row(each) for each in result["limits"]]
        parts.append(page.table(header, rows))
    return [*parts, page.paragraph(BLIND)]


def _limit_row(each: dict[str, Any]) -> list[str]:
    return [each["title"], *["found" if found else "not found" for found in each["found"]]]


def comparison_section(audit: Audit, other: str, before: list[Finding]) -> list[Part]:
    """What became of the findings of another audit."""
    rows = []
    for each in comparison.compare(before, find_all(audit)):
        rows.append([each.title, each.label, _score(each.before), _score(each.now), each.verdict])
    parts: list[Part] = [page.heading("Before and now")]
    if not rows:
        return [*parts, page.paragraph("Neither audit has a finding.")]
    lead = f"The findings of the audit in {printable(other)}, and those of this one."
    header = ["what", "class", "before", "now", ""]
    return [*parts, page.paragraph(lead), page.table(header, rows)]


def _score(score: float) -> str:
    return f"{score:.1f}" if score else "-"
