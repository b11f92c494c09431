import json
import pathlib

import numpy as np
import PIL.Image
import pytest

from lens_jax.config import to_json
from lens_jax.errors import UserError
from lens_jax.eval.options import Options
from lens_jax.sweep.grid import Run, make_runs
from lens_jax.sweep.jobs import Job, Requirements, make_jobs
from lens_jax.sweep.status import read_status
from lens_jax.sweep.table import make_table, to_markdown
from lens_jax.workdir.files import FAILURE_FILE, write_config

OPTIONS = Options(taps=("block1", "pre_logits"), shortcut="arrow")
DATA = {"dataset": "digits", "test_split": "test", "train_examples": 100, "test_fingerprint": "0f"}
RESULT = DATA | {
    "step": 8,
    "representation": "raw",
    "solver": "lbfgs",
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
    """Makes a job of eight steps, evaluated on raw features and with `lens` on lensed ones too."""

    def make(seed: int = 0, lens: bool = False) -> Job:
        run = Run({"shortcut": "arrow", "seed": seed}, f"run-{seed}", tiny_config({"seed": seed}))
        kinds = ("raw", "lensed") if lens else ("raw",)
        evaluations = tuple(OPTIONS._replace(representation=kind) for kind in kinds)
        return Job(run, str(tmp_path / run.name), Requirements(8, evaluations, DATA))

    return make


def leave(job: Job, results: list[dict], steps: tuple[int, ...] = (4, 8), failure: str = "") -> Job:
    """Writes the files that a run leaves, its checkpoints empty."""
    folder = pathlib.Path(job.workdir)
    for step in steps:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
    (folder / "linear_eval.json").write_text(json.dumps(results))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    if failure:
        (folder / FAILURE_FILE).write_text(failure + "\n")
    return job


def test_a_finished_run_has_the_results_of_its_last_checkpoint_and_last_tap(make_job):
    lensed = RESULT | {"representation": "lensed", "taps": {"block1": 0.1, "pre_logits": 0.2}}
    earlier = RESULT | {"step": 4, "taps": {"block1": 0.0, "pre_logits": 0.0}}
    status = read_status(
        leave(make_job(lens=True), [earlier, lensed, RESULT], failure="an earlier failure")
    )
    assert (status.state, status.error) == ("finished", "")
    assert status.measured_on == "digits test, online network"
    assert status.results == {
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
        {"network": "target"},
        {"solver": "sgd"},
        {"train_examples": 99},
        {"test_split": "train"},
        {"test_fingerprint": "1f"},
        {"shortcut": "chromatic"},
        {"taps": {"pre_logits": 0.75}},
    ],
)
def test_another_evaluation_does_not_finish_a_run(make_job, other: dict):
    assert read_status(leave(make_job(), [RESULT | other])).state == "missing"


def test_a_run_is_finished_by_all_its_evaluations_and_its_last_checkpoint(make_job):
    assert read_status(leave(make_job(0, lens=True), [RESULT])).state == "missing"
    assert read_status(leave(make_job(1), [RESULT], steps=(4,))).state == "missing"
    assert read_status(leave(make_job(2), [RESULT])).state == "finished"


def test_a_table_of_folders_counts_the_failed_and_the_missing_seed(make_job):
    jobs = [make_job(seed) for seed in range(4)]
    leave(jobs[0], [RESULT])
    leave(jobs[1], [RESULT | {"taps": {"block1": 0.0, "pre_logits": 0.25}}])
    leave(jobs[2], [], steps=(4,), failure="loss is nan at step 6")
    table = make_table([read_status(job) for job in jobs])
    (row,) = table["rows"]
    assert [seed["state"] for seed in row["seeds"]] == ["finished", "finished", "failed", "missing"]
    assert row["seeds"][2]["error"] == "loss is nan at step 6"
    assert to_markdown(table).splitlines()[2].startswith("| 50.0 ± 25.0 | 50.0 ± 0.0 |")
    assert to_markdown(table).splitlines()[2].endswith("| failed (2 of 4 finished) |")


@pytest.fixture
def base(tiny_config, tmp_path):
    """A config of two epochs on six images of two classes, with four more for evaluation."""
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


def test_an_older_result_that_does_not_say_its_split_does_not_finish_a_run(make_job):
    older = {key: value for key, value in RESULT.items() if key != "test_split"}
    assert read_status(leave(make_job(), [older])).state == "missing"


def test_requirements_by_hand(base, tmp_path):
    runs = make_runs(base, "lens.kind=none data.batch_size=2,4 seed=0,1; lens.kind=network seed=0")
    jobs = make_jobs(runs, str(tmp_path / "sweep"), Options(examples=5), ())
    assert [job.required.total_steps for job in jobs] == [6, 6, 3, 3, 3]
    assert [len(job.required.evaluations) for job in jobs] == [1, 1, 1, 1, 3]
    assert [options.representation for options in jobs[-1].required.evaluations] == [
        "raw",
        "lensed",
        "concat",
    ]
    assert {job.required.data["train_examples"] for job in jobs} == {5}
    assert {job.required.evaluations[0].shortcut for job in jobs} == {"chromatic"}
    assert jobs[0].workdir == str(tmp_path / "sweep" / "data.batch_size=2,lens.kind=none,seed=0")
    assert not (tmp_path / "sweep").exists()


def test_without_a_lens_only_raw_features_are_evaluated(base, tmp_path):
    runs = make_runs(base, "lens.kind=none,network")
    jobs = make_jobs(runs, str(tmp_path), Options(examples=100), ("concat", "lensed"))
    kinds = [[options.representation for options in job.required.evaluations] for job in jobs]
    assert kinds == [["raw"], ["concat", "lensed"]]
    assert jobs[0].required.data["train_examples"] == 6


@pytest.mark.parametrize(
    ("grid", "options", "representations", "words"),
    [
        ("seed=0", Options(), ("sum",), ("'sum'", "concat")),
        ("seed=0", Options(taps=("block9",)), (), ("'block9'", "pre_logits")),
        ("seed=0", Options(network="target"), (), ("'target'", "choose online")),
        ("seed=0", Options(shortcut="cross"), (), ("'cross'", "arrow")),
        ("seed=0", Options(dataset="mnist"), (), ("'mnist'", "digits")),
        ("data.eval_split=test,validation", Options(), (), ("'validation'", "test")),
        ("train.duration='1 epochs','2 days'", Options(), (), ("'2 days'", "epochs")),
        ("data.image_size=16,20", Options(), (), ("20x20", "multiples of 8")),
    ],
)
def test_what_cannot_be_trained_or_evaluated_is_refused_before_the_first_run(
    base, tmp_path, grid: str, options: Options, representations: tuple, words: tuple
):
    with pytest.raises(UserError) as caught:
        make_jobs(make_runs(base, grid), str(tmp_path / "sweep"), options, representations)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "sweep").exists()


def test_a_folder_with_a_run_of_another_config_is_refused(base, tmp_path):
    runs = make_runs(base, "lens.kind=none seed=0,1")
    for run, duration in zip(runs, ("2 epochs", "3 epochs"), strict=True):
        values = to_json(run.config)
        values["train"]["duration"] = duration
        write_config(str(tmp_path / run.name), values)
    with pytest.raises(UserError, match=r"seed=1 holds .* was '3 epochs' and is now '2 epochs'"):
        make_jobs(runs, str(tmp_path), Options(), ())
