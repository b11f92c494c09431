import json
import pathlib

import numpy as np
import PIL.Image
import pytest

from lens_jax.config import to_json
from lens_jax.errors import UserError
from lens_jax.eval.evaluate import Question
from lens_jax.sweep.grid import Run, make_runs
from lens_jax.sweep.jobs import Goal, Job, make_jobs
from lens_jax.sweep.results import look_up
from lens_jax.sweep.table import make_table, to_markdown
from lens_jax.workdir.files import FAILURE_FILE, write_config

QUESTION = Question(taps=("block1", "pre_logits"), shortcut="arrow")
ANSWER = {
    "step": 8,
    "dataset": "digits",
    "representation": "raw",
    "solver": "lbfgs",
    "train_examples": 100,
    "taps": {"block1": 0.25, "block2": 0.5, "pre_logits": 0.75},
    "linear_accuracy": 0.75,
    "shortcut": "arrow",
    "pretext_accuracy_clean": 0.5,
    "pretext_accuracy_shortcut_lensed": 0.625,
    "seconds": 3.0,
}
ROWS = [{"step": 4, "seconds": 1.5}, {"step": 8, "seconds": 2.5}]


@pytest.fixture
def make_job(tiny_config, tmp_path):
    """Makes a job of eight steps, asked for raw features and with `lens` for lensed ones too."""

    def make(seed: int = 0, lens: bool = False) -> Job:
        run = Run({"shortcut": "arrow", "seed": seed}, f"run-{seed}", tiny_config({"seed": seed}))
        kinds = ("raw", "lensed") if lens else ("raw",)
        questions = tuple(QUESTION._replace(representation=kind) for kind in kinds)
        return Job(run, str(tmp_path / run.name), Goal(8, questions, 100))

    return make


def leave(job: Job, answers: list[dict], steps: tuple[int, ...] = (4, 8), failure: str = "") -> Job:
    """Writes the files that a run leaves, its checkpoints empty."""
    folder = pathlib.Path(job.folder)
    for step in steps:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
    (folder / "linear_eval.json").write_text(json.dumps(answers))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    if failure:
        (folder / FAILURE_FILE).write_text(failure + "\n")
    return job


def test_a_finished_run_has_the_numbers_of_its_last_checkpoint_and_of_the_last_tap_asked(make_job):
    lensed = ANSWER | {"representation": "lensed", "taps": {"block1": 0.1, "pre_logits": 0.2}}
    earlier = ANSWER | {"step": 4, "taps": {"block1": 0.0, "pre_logits": 0.0}}
    outcome = look_up(
        leave(make_job(lens=True), [earlier, lensed, ANSWER], failure="an earlier failure")
    )
    assert (outcome.state, outcome.error) == ("finished", "")
    assert outcome.numbers == {
        "linear_accuracy_raw": 0.75,
        "linear_accuracy_lensed": 0.2,
        "pretext_accuracy_clean": 0.5,
        "pretext_accuracy_shortcut_lensed": 0.625,
        "seconds": 2.5,
    }


@pytest.mark.parametrize(
    "other",
    [
        {"step": 4},
        {"dataset": "glyphs"},
        {"representation": "concat"},
        {"solver": "sgd"},
        {"train_examples": 99},
        {"shortcut": "chromatic"},
        {"taps": {"pre_logits": 0.75}},
    ],
)
def test_another_evaluation_does_not_finish_a_run(make_job, other: dict):
    assert look_up(leave(make_job(), [ANSWER | other])).state == "missing"


def test_a_run_is_finished_by_all_its_evaluations_and_its_last_checkpoint(make_job):
    assert look_up(leave(make_job(0, lens=True), [ANSWER])).state == "missing"
    assert look_up(leave(make_job(1), [ANSWER], steps=(4,))).state == "missing"
    assert look_up(leave(make_job(2), [ANSWER])).state == "finished"


def test_a_table_of_folders_tells_the_failed_and_the_missing_seed(make_job):
    jobs = [make_job(seed) for seed in range(4)]
    leave(jobs[0], [ANSWER])
    leave(jobs[1], [ANSWER | {"taps": {"block1": 0.0, "pre_logits": 0.25}}])
    leave(jobs[2], [], steps=(4,), failure="loss is nan at step 6")
    table = make_table([look_up(job) for job in jobs])
    (row,) = table["rows"]
    assert [seed["state"] for seed in row["seeds"]] == ["finished", "finished", "failed", "missing"]
    assert row["seeds"][2]["error"] == "loss is nan at step 6"
    assert to_markdown(table).splitlines()[2].startswith("| 50.0 ± 25.0 | 50.0 ± 0.0 |")
    assert to_markdown(table).splitlines()[2].endswith("| failed (2 of 4 finished) |")


@pytest.fixture
def base(tiny_config, tmp_path):
    """A config that trains for two epochs on six pictures of two classes, and has four to be judged on."""
    for split, count in (("train", 3), ("test", 2)):
        for name in ("dark", "light"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.full((16, 16, 3), 40 * i + 100 * (name == "light"), np.uint8)
                PIL.Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{i}.png")
    return tiny_config(
        {
            "data.name": "image_folder",
            "data.dir": str(tmp_path / "images"),
            "train.duration": "2 epochs",
            "shortcut": "chromatic",
        }
    )


def test_goals_by_hand(base, tmp_path):
    runs = make_runs(base, "lens.kind=none data.batch_size=2,4 seed=0,1; lens.kind=network seed=0")
    jobs = make_jobs(runs, str(tmp_path / "sweep"), Question(examples=5), ())
    assert [job.goal.total_steps for job in jobs] == [6, 6, 3, 3, 3]
    assert [len(job.goal.questions) for job in jobs] == [1, 1, 1, 1, 3]
    assert [question.representation for question in jobs[-1].goal.questions] == [
        "raw",
        "lensed",
        "concat",
    ]
    assert {job.goal.train_examples for job in jobs} == {5}
    assert {job.goal.questions[0].shortcut for job in jobs} == {"chromatic"}
    assert jobs[0].folder == str(tmp_path / "sweep" / "data.batch_size=2,lens.kind=none,seed=0")
    assert not (tmp_path / "sweep").exists()


def test_without_a_lens_raw_features_are_all_that_is_asked_for(base, tmp_path):
    runs = make_runs(base, "lens.kind=none,network")
    jobs = make_jobs(runs, str(tmp_path), Question(examples=100), ("concat", "lensed"))
    kinds = [[question.representation for question in job.goal.questions] for job in jobs]
    assert kinds == [["raw"], ["concat", "lensed"]]
    assert jobs[0].goal.train_examples == 6


@pytest.mark.parametrize(
    ("grid", "question", "representations", "words"),
    [
        ("seed=0", Question(), ("sum",), ("'sum'", "concat")),
        ("seed=0", Question(taps=("block9",)), (), ("'block9'", "pre_logits")),
        ("seed=0", Question(shortcut="cross"), (), ("'cross'", "arrow")),
        ("seed=0", Question(dataset="mnist"), (), ("'mnist'", "digits")),
        ("data.eval_split=test,validation", Question(), (), ("'validation'", "test")),
        ("train.duration='1 epochs','0 steps'", Question(), (), ("'0 steps'", "longer")),
        ("data.image_size=16,20", Question(), (), ("20x20", "multiples of 8")),
    ],
)
def test_what_cannot_be_run_or_asked_is_refused_before_the_first_run(
    base, tmp_path, grid: str, question: Question, representations: tuple, words: tuple
):
    with pytest.raises(UserError) as caught:
        make_jobs(make_runs(base, grid), str(tmp_path / "sweep"), question, representations)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "sweep").exists()


def test_a_folder_with_a_run_of_another_config_is_refused(base, tmp_path):
    runs = make_runs(base, "lens.kind=none seed=0,1")
    for run, duration in zip(runs, ("2 epochs", "3 epochs"), strict=True):
        values = to_json(run.config)
        values["train"]["duration"] = duration
        write_config(str(tmp_path / run.name), values)
    with pytest.raises(UserError, match=r"seed=1 holds .* was '3 epochs' and is now '2 epochs'"):
        make_jobs(runs, str(tmp_path), Question(), ())
