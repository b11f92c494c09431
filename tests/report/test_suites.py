import json

import pytest

from lens_jax.report.runs import find_runs
from lens_jax.report.suites import find_questions, suites_section

DATA = {"test": {"name": "glyphs/32/1.0.0", "examples": 100}}


def knn(accuracy: float, step: int = 8, k: int = 20, **more) -> dict:
    result = {
        "step": step,
        "network": "online",
        "representation": "raw",
        "suite": "knn",
        "options": {"k": k, "temperature": 0.07},
        "data": DATA,
        "protocol": "by <cosine>",
        "numbers": {"accuracy": accuracy},
    }
    return result | more


@pytest.fixture
def runs(add_run):
    """Two runs: one asked two questions at two steps, one asked one of them of other features."""

    def write(name: str, *results: dict) -> None:
        root = add_run(name)
        (root / name / "evaluation.json").write_text(json.dumps(results))

    write("first", knn(0.1, step=4), knn(0.25), knn(0.5, k=7))
    write("second", knn(0.75), knn(0.9, representation="lensed"))
    return find_runs(str(add_run("third")))


def test_a_question_has_the_last_answer_of_each_run(runs):
    questions = find_questions(runs)
    answers = {}
    for question in questions:
        by_run = {name: result["numbers"]["accuracy"] for name, result in question.results.items()}
        answers[question.title] = by_run
    assert answers == {
        "knn": {"first": 0.25, "second": 0.75},
        "knn(k=7)": {"first": 0.5},
        "knn, lensed": {"second": 0.9},
    }


def test_the_page_has_a_row_a_run_and_the_protocol_beside_the_numbers(runs):
    text = "".join(part for part in suites_section(runs) if isinstance(part, str))
    assert "<td>first</td><td>25.00%</td><td>50.00%</td><td>-</td>" in text
    assert "<td>third</td><td>-</td><td>-</td><td>-</td>" in text
    assert "by &lt;cosine&gt;" in text


def test_many_numbers_are_behind_a_summary(add_run):
    numbers = {f"accuracy/{i}": i / 100 for i in range(20)}
    root = add_run("run")
    (root / "run" / "evaluation.json").write_text(json.dumps([knn(0.0, numbers=numbers)]))
    text = "".join(suites_section(find_runs(str(root))))
    assert "all 20 numbers" in text
    assert text.count("19.00%") == 1
    assert text.count("<td>5.00%</td>") == 2


def test_what_others_published_stands_once_below_all_runs(add_run):
    scores = {"top10": 50.0, "top10/viewpoint": 50.0}
    result = knn(0, suite="invariance", options={"k": [10]}, numbers=scores)
    for name in ("first", "second"):
        root = add_run(name)
        (root / name / "evaluation.json").write_text(json.dumps([result]))
    text = "".join(part for part in suites_section(find_runs(str(root))) if isinstance(part, str))
    assert text.count("80.89") == 1
    assert text.index("<td>second</td>") < text.index("do not compare") < text.index("80.89")


def test_without_any_suites_there_is_no_section(add_run):
    assert suites_section(find_runs(str(add_run("run")))) == []


def test_a_suite_that_is_known_no_more_is_still_shown(add_run):
    root = add_run("run")
    old = knn(0.5, suite="gone", options={"depth": 3})
    (root / "run" / "evaluation.json").write_text(json.dumps([old]))
    assert "gone(depth=3)" in "".join(suites_section(find_runs(str(root))))
