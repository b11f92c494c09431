"""What lenses found, in sentences and as findings for programs."""

from typing import Any

from lens_jax.audit.lens_parts import VIEW
from lens_jax.audit.state import Audit, Result
from lens_jax.pages.page import printable

# From so far on, in gray levels of 255, a color is called one.
_PLAIN = 8.0


def find_marks(audit: Audit) -> list[Result]:
    """The kinds that are taken for marks, with their task, those of most images first."""
    found = []
    for name, result in audit.results.items():
        if name.startswith(VIEW) and not result["why_not"]:
            task = {"task": name.removeprefix(VIEW)}
            for kind in result["kinds"]:
                if kind["is_mark"]:
                    found.append(task | {"told": tell_kind(kind, result)} | kind)
    return sorted(found, key=lambda mark: -mark["images"])


def headline(audit: Audit) -> str:
    """What lenses found, in a sentence for the top of the page; "" where none is finished."""
    marks = find_marks(audit)
    if marks:
        return (
            f"Of lenses trained on the images, that of {marks[0]['task']} found: {marks[0]['told']}"
        )
    finished = []
    for name, result in audit.results.items():
        is_finished = name.startswith(VIEW) and not result["why_not"]
        if is_finished and result["accuracy"].get("learned", True):
            finished.append(name.removeprefix(VIEW).replace("_", " "))
    if not finished:
        return ""
    return f"Lenses trained on the images ({', '.join(finished)}) removed nothing like a mark."


def findings(audit: Audit) -> dict[str, Result]:
    """What each lens found, by task, without what is only shown."""
    found = {}
    for name, result in audit.results.items():
        if name.startswith(VIEW):
            hidden = ("arrays", "image_change", "shown")
            kept = {key: value for key, value in result.items() if key not in hidden}
            found[name.removeprefix(VIEW)] = kept
    return found


def summarize(result: Result) -> str:
    """How long it was trained, what the network knew, and what the lens cost it."""
    words = f"After {result['step']:,} steps, seen on {result['images']:,} images"
    accuracy = result["accuracy"]
    if "raw" not in accuracy:
        return f"{words}; this task has no right answers to count here."
    words += (
        f", of which {result['tested']:,} were held out: the network is right on "
        f"{100 * accuracy['raw']:.0f} % of them as they are, and on "
        f"{100 * accuracy['lensed']:.0f} % through the lens"
    )
    if "null" not in accuracy:
        return f"{words}."
    words += f", where one that learned from shuffled answers is on {100 * accuracy['null']:.0f} %."
    if not accuracy["learned"]:
        words += (
            " That is no difference that luck does not explain: it has learned nothing, so its "
            "lens says nothing. Give it more minutes, or more images."
        )
    return words


def describe_kind(kind: dict[str, Any], result: Result) -> str:
    """Count, place, size, color and worth of a kind, in a caption."""
    words = (
        f"in {kind['images']:,} of {result['images']:,} images, {place_words(kind)}, on "
        f"{100 * kind['size']:.1f} % of an image; the lens adds {color_words(kind['color'])}; "
        f"likeness {kind['likeness']:.2f} (nulls {result['likeness_null']:.2f}). "
    )
    if len(kind["classes"]) > 1:
        words += _class_words(kind) + ". "
    worth = kind["worth"]
    if worth:
        words += (
            f"On {worth['images']} held-out images with it the network is right on "
            f"{100 * worth['raw']:.0f} %, through the lens on {100 * worth['lensed']:.0f} %, with "
            f"this put back on {100 * worth['back']:.0f} %, with as many other pixels put back on "
            f"{100 * worth['elsewhere']:.0f} %: worth {100 * worth['gain']:+.0f} points "
            f"({100 * worth['low']:+.0f} to {100 * worth['high']:+.0f})."
        )
    return words


def _class_words(kind: dict[str, Any]) -> str:
    lives_in = kind["classes"][kind["lives_in"]]
    return (
        f'"{printable(lives_in["name"])}" has it in {100 * kind["rate"]:.0f} % of its images, '
        f"the others in {100 * kind['others']:.0f} % (p {kind['p']:.1g})"
    )


def tell_kind(kind: dict[str, Any], result: Result) -> str:
    """What speaks for a mark, and whether it is the mark or the object that matters."""
    words = (
        f"A small thing that looks the same in {kind['images']:,} images, {place_words(kind)}, is "
        "what the lens removes"
    )
    if len(kind["classes"]) > 1 and kind["p"] <= 0.05:
        words += f": {_class_words(kind)}"
    words += "."
    groups = kind["groups"]
    if "change" in groups["with"] and "change" in groups["without"]:
        ratio = groups["with"]["change"] / max(groups["without"]["change"], 1e-12)
        beside = groups["with"]["beside"] / max(groups["without"]["beside"], 1e-12)
        words += (
            f" Images of that class with it are changed {ratio:.1f} times as much as those without "
            f"it, and beside it {beside:.1f} times."
        )
    pasted = kind["pasted"]
    if pasted:
        words += (
            f" Pasted into {pasted['images']} images of other classes, it turns "
            f"{100 * pasted['mark']:.0f} % of them into that class for the network; a piece of an "
            f"image of that class without it {100 * pasted['piece']:.0f} %, nothing "
            f"{100 * pasted['before']:.0f} %: "
        )
        counts = "it is the mark that counts."
        unsure = "no more than luck explains, so it may be the object that counts."
        words += counts if pasted["low"] > 0 else unsure
    return words


def place_words(kind: dict[str, Any]) -> str:
    """Where a kind is, in words: at one place, or here and there."""
    if max(kind["spread"]) > 0.12:
        return "here and there"
    vertical, horizontal = kind["place"]
    words = f"{_third(vertical, ('top', '', 'bottom'))} {_third(horizontal, ('left', '', 'right'))}"
    words = words.strip()
    return f"at the {words}" if words else "in the middle"


def color_words(color: list[float]) -> str:
    """A change of color in gray levels, such as "-40 red, -38 green, -41 blue"."""
    if max(map(abs, color)) < _PLAIN:
        return "little light in all"
    names = ("red", "green", "blue")
    return ", ".join(f"{value:+.0f} {name}" for value, name in zip(color, names, strict=True))


def _third(position: float, words: tuple[str, str, str]) -> str:
    return words[min(2, int(3 * position))]
