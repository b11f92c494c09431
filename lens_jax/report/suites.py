"""The section on the suites: one table of all runs, and one for each question with its protocol."""

import json
from typing import NamedTuple

from lens_jax.eval.suites import SUITES
from lens_jax.eval.suites.base import Suite, format_number
from lens_jax.pages import page
from lens_jax.pages.page import Part, Picture
from lens_jax.report.runs import TrainedRun
from lens_jax.workdir.results import Result

TITLE = "What the representations know, and what they ignore"
LEAD = (
    "Each suite puts one question to the frozen features. Its main number stands in this table; "
    "all numbers, and how they were measured, stand below."
)
UNKNOWN = "-"
# A question with more numbers than this has them behind a summary.
COLUMNS = 8


class Question(NamedTuple):
    """A suite with all its options, as it was asked of the same data in several runs.

    Attributes:
      title: the suite and the options that are not its defaults, and which features were asked.
      results: the newest result of each run that has one, by the run's name.

    """

    title: str
    results: dict[str, Result]


def suites_section(found: list[TrainedRun]) -> list[Part]:
    """The results of all suites of all runs; nothing where there are none."""
    questions = find_questions(found)
    if not questions:
        return []
    names = [run.name for run in found]
    parts = [page.heading(TITLE), page.paragraph(LEAD), _overview(names, questions)]
    for question in questions:
        parts += _question_parts(question)
    return parts


def find_questions(found: list[TrainedRun]) -> list[Question]:
    """The questions that runs were asked, in the order in which they first were.

    Of a run that was evaluated at several steps, the newest result of the last one counts.
    """
    questions: dict[str, Question] = {}
    for run in found:
        for result in sorted(run.suites, key=_step):
            # What makes two results answers to the same question, but for the run and its step.
            asked = [
                result[key] for key in ("suite", "options", "data", "representation", "network")
            ]
            key = json.dumps(asked, sort_keys=True)
            question = questions.setdefault(key, Question(_title(result), {}))
            question.results[run.name] = result
    return list(questions.values())


def _step(result: Result) -> int:
    return result["step"]


def _title(result: Result) -> str:
    """Such as "knn(k=200), lensed"; what is as by default is left out."""
    defaults = {}
    if result["suite"] in SUITES:
        suite = SUITES[result["suite"]]
        defaults = vars(suite())
    options = []
    for key, value in result["options"].items():
        default = defaults.get(key)
        if value != (list(default) if isinstance(default, tuple) else default):
            options.append(f"{key}={value}")

    title = result["suite"]
    if options:
        title += f"({', '.join(options)})"
    if result["representation"] != "raw":
        title += f", {result['representation']}"
    if result["network"] != "online":
        title += f", {result['network']} network"
    return title


def _overview(names: list[str], questions: list[Question]) -> Part:
    """The first number of each question, a row a run."""
    header = ["run", *(question.title for question in questions)]
    rows = []
    for name in names:
        cells = [_main_number(question.results.get(name)) for question in questions]
        rows.append([name, *cells])
    return page.table(header, rows)


def _main_number(result: Result | None) -> str:
    if result is None or not result["numbers"]:
        return UNKNOWN
    name, value = next(iter(result["numbers"].items()))
    return format_number(name, value)


def _question_parts(question: Question) -> list[Part]:
    results = question.results
    first = next(iter(results.values()))
    parts = [page.subheading(question.title), page.paragraph(first["protocol"])]

    # Columns in the order in which the results have them; a class may lack images in some.
    columns = list(dict.fromkeys(name for result in results.values() for name in result["numbers"]))
    rows = []
    for name, result in results.items():
        numbers = result["numbers"]
        cells = [_cell(column, numbers.get(column)) for column in columns]
        rows.append([name, *cells])
    short = [row[: 1 + COLUMNS] for row in rows]
    parts.append(page.table(["run", *columns[:COLUMNS]], short))
    if len(columns) > COLUMNS:
        whole = page.table(["run", *columns], rows)
        parts.append(page.folded(f"all {len(columns)} numbers", whole))
    return [*parts, *_pictures(results), *_published(first)]


def _cell(name: str, value: float | None) -> str:
    return UNKNOWN if value is None else format_number(name, value)


def _pictures(results: dict[str, Result]) -> list[Part]:
    """What the suite itself makes of each run's numbers, but for the default's table."""
    galleries = []
    for name, result in results.items():
        suite = _make_suite(result)
        parts = suite.tell(result["numbers"]) if suite else []
        for part in parts:
            if isinstance(part, list):
                galleries.append([_of_run(name, picture) for picture in part])
    return galleries


def _published(result: Result) -> list[Part]:
    """What others measured by the same suite, apart from the runs."""
    suite = _make_suite(result)
    return suite.published() if suite else []


def _make_suite(result: Result) -> Suite | None:
    """The suite with its options; None for one that there is no more."""
    suite = SUITES.get(result["suite"])
    if suite is None:
        return None
    options = {}
    for key, value in result["options"].items():
        options[key] = tuple(value) if isinstance(value, list) else value
    return suite(**options)


def _of_run(name: str, picture: Picture) -> Picture:
    return picture._replace(
        file=f"{name}-{picture.file}",
        alt=f"{name}: {picture.alt}",
        caption=f"{name}: {picture.caption}",
    )
