"""The audit from folder to page: computes the parts that are missing, and writes the files."""

import pathlib
import time
from typing import NamedTuple

from lens_jax.audit import acting, flagged, headline, kept, sections
from lens_jax.audit.comparison import FINDINGS_FILE, read_findings
from lens_jax.audit.findings import Finding, highest_score
from lens_jax.audit.folder import open_folder
from lens_jax.audit.lens_parts import LensOptions, lens_parts
from lens_jax.audit.parts import PARTS
from lens_jax.audit.state import Audit
from lens_jax.data.records import fingerprint
from lens_jax.pages import page
from lens_jax.workdir.files import write_whole, writing_to

PAGE_FILE = "index.html"
FLAGGED_FILE = "flagged.csv"


class Options(NamedTuple):
    """The flags of the command.

    Attributes:
      images: the folder.
      labels: a file of labels, or "".
      output: the folder to write into.
      seed: of all random choices.
      lens: which lenses are trained, for how long.
      compare: the output of another audit, or "".

    """

    images: str
    labels: str
    output: str
    seed: int
    lens: LensOptions = LensOptions()
    compare: str = ""


def audit(options: Options) -> float:
    """Writes the page on a folder of images, anew after each part, and prints where it is.

    Parts that were finished before, on the same files with the same seed, are not repeated.

    Returns:
      The highest score of all findings, see `findings`; 0 without one.

    Raises:
      UserError: there are no images, the labels do not fit, or the output cannot be written.

    """
    before = read_findings(options.compare) if options.compare else None
    folder = open_folder(options.images, options.labels)
    parts = (*PARTS, *lens_parts(options.lens))
    found = Audit(folder, options.output, options.seed, {}, parts)
    for part in parts:
        key = fingerprint([folder.fingerprint, str(options.seed), *part.settings])
        result = kept.read_result(options.output, part.name, key)
        if result is None:
            # What is missing can be read at any time, should this be the last.
            _write(options, found, before)
            print(f"{part.doing} ...", end="", flush=True)
            start = time.monotonic()
            result = part.compute(found)
            kept.write_result(options.output, part.name, key, result)
            print(f" {time.monotonic() - start:.0f} s", flush=True)
        found.results[part.name] = result
    _write(options, found, before)
    print(f"\n{headline.headline(found)}\n\nthe page is {_path(options, PAGE_FILE)}")
    return highest_score(found)


def _write(options: Options, found: Audit, before: list[Finding] | None) -> None:
    """Writes the page, the findings and the flagged files on the parts that are finished."""
    contents = sections.all_sections(found, options.images, options.labels)
    if before is not None:
        contents[1:1] = acting.comparison_section(found, options.compare, before)
    with writing_to(options.output):
        pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
        write_whole(_path(options, PAGE_FILE), page.document(sections.TITLE, contents))
        write_whole(_path(options, FINDINGS_FILE), flagged.findings_json(found))
        write_whole(_path(options, FLAGGED_FILE), flagged.flagged_csv(found))


def _path(options: Options, name: str) -> pathlib.Path:
    return pathlib.Path(options.output) / name
