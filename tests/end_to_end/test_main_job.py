import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from lens_jax.eval.frozen import load
from lens_jax.workdir.metrics import read_metrics

from .commands import REPOSITORY, command, run, succeed, train

OPTIONS = (
    "--config.train.duration=8 steps",
    "--config.train.checkpoint_every=4 steps",
    "--config.train.monitors=True",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """The work directory, and the output with a line for each program that was compiled."""
    workdir = tmp_path_factory.mktemp("run")
    result = subprocess.run(
        train(workdir, data, *OPTIONS),
        cwd=REPOSITORY,
        env=os.environ | {"JAX_LOG_COMPILES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return workdir, result.stdout


def test_training_reports_its_parameters_its_compile_time_and_its_progress(trained):
    _, output = trained
    assert "Total:" in output
    assert "compiled the step in" in output
    lines = [line for line in output.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/8", "4/8", "6/8", "8/8"]
    for word in (
        "images/s",
        "eta",
        "loss",
        "accuracy_lensed",
        "accuracy_raw",
        "lens_reconstruction",
    ):
        assert word in lines[-1]


def test_nothing_is_compiled_after_the_first_step(trained):
    _, output = trained
    before, after = output.split("step 2/8")
    assert "XLA compilation" in before
    assert "XLA compilation" not in after
    assert "step 8/8" in after


def test_metrics_go_to_a_file_and_to_tensorboard(trained):
    workdir, _ = trained
    rows = read_metrics(str(workdir))
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert all(row["lens_reconstruction"] >= 0 for row in rows)
    assert list(workdir.glob("events.out.tfevents.*"))


def test_the_resolved_config_is_saved(trained):
    workdir, _ = trained
    config = json.loads((workdir / "config.json").read_text())["config"]
    assert config["model"]["width"] == 8
    assert config["lens"]["widths"] == [8, 8]


def test_started_again_a_finished_run_trains_no_further(trained, data):
    workdir, _ = trained
    before = (workdir / "metrics.jsonl").read_bytes()
    output = succeed(*train(workdir, data, *OPTIONS))
    assert "going on from checkpoint 8" in output
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_the_evaluation_judges_every_tap_and_the_shortcut(trained):
    workdir, _ = trained
    table = succeed(
        *command("linear_eval", f"--checkpoint={workdir}", "--dataset=digits", "--once")
    )
    results = json.loads((workdir / "linear_eval.json").read_text())
    assert [result["representation"] for result in results] == ["raw", "lensed", "concat"]
    for result in results:
        assert list(result["taps"]) == ["block1", "block2", "pre_logits"]
        assert all(tap in table for tap in result["taps"])
        assert (result["step"], result["train_examples"], result["test_examples"]) == (8, 1437, 360)
        assert {"pretext_accuracy_clean", "pretext_accuracy_shortcut_lensed"} <= result.keys()


def test_evaluated_again_a_result_is_replaced_and_another_is_added(trained):
    workdir, _ = trained
    options = "--taps=pre_logits", "--examples=200", "--representations=raw"
    for _ in range(2):
        succeed(*command("linear_eval", f"--checkpoint={workdir}", *options))
    results = json.loads((workdir / "linear_eval.json").read_text())
    alike = [row for row in results if row["train_examples"] == 200]
    assert [row["representation"] for row in alike] == ["raw"]


def test_suites_are_answered_from_features_that_are_extracted_once(trained, tmp_path):
    workdir, _ = trained
    embeddings = tmp_path / "embeddings.npz"
    words = command(
        "evaluate", f"--checkpoint={workdir}", "--suite=knn(k=5) knn linear(taps=pre_logits)"
    )
    # What was asked before is asked again, in its place.
    for options in (["--examples=200"], ["--examples=200", f"--embed={embeddings}"]):
        output = succeed(*words, *options)

    results = json.loads((workdir / "evaluation.json").read_text())
    asked = [(result["suite"], result["options"].get("k")) for result in results]
    assert asked == [("knn", 5), ("knn", 20), ("linear", None)]
    for result in results:
        assert result["protocol"] in output
        assert result["data"]["train"]["examples"] == 200
        assert result["numbers"]["accuracy"] > 0.3
    # A folder for the labeled images and one for the others.
    assert len(list((workdir / "features").glob("*/features.npy"))) == 2

    with np.load(embeddings) as written:
        assert written["features"].shape == (360, written["features"].shape[1])
        assert len(set(written["name"])) == 360
        assert set(written["label"]) == set("0123456789")


def test_a_suite_that_cannot_be_run_leaves_the_others_to_run(trained, tmp_path):
    workdir, _ = trained
    options = (f"--checkpoint={workdir}", "--examples=100", f"--output={tmp_path}", "--clean")
    refused = run(*command("evaluate", *options, "--suite=knn(k=101),knn(k=1)"))
    assert refused.returncode == 1
    assert "failed: knn: suite 'knn' has k=101, and there are 100 labeled" in refused.stderr
    assert "Traceback" not in refused.stderr
    (result,) = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["options"]["k"] == 1
    assert not list((workdir / "features").glob("*/features.npy"))


def test_heads_trained_by_sgd_are_far_above_chance(trained):
    workdir, _ = trained
    options = (f"--checkpoint={workdir}", "--solver=sgd", "--epochs=10", "--taps=block1,pre_logits")
    options += ("--representations=concat",)
    succeed(*command("linear_eval", *options))
    result = json.loads((workdir / "linear_eval.json").read_text())[-1]
    assert result["solver"] == "sgd"
    assert result["taps"]["block1"] > 0.6


def test_a_training_of_no_steps_is_a_network_as_it_is_initialized(tmp_path, data):
    words = train(tmp_path, data, "--config.train.duration=0 steps", config="byol")
    assert "trained to step 0" in succeed(*words)
    assert "going on from checkpoint 0" in succeed(*words)
    assert 0.2 < judge(tmp_path) < 1  # random features tell digits better than chance

    # The target network starts as a copy, and so it still is.
    state = load(str(tmp_path)).state
    copied = state.target_params["extractor"]["BasicBlock_0"]["Conv_0"]["kernel"]
    original = state.params["extractor"]["BasicBlock_0"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(copied, original)
    assert "seconds" not in succeed(*command("report", f"--workdir={tmp_path}"))


def test_a_run_begins_with_the_networks_of_another_and_a_constant_schedule_goes_on(
    trained, tmp_path, data
):
    other, _ = trained
    options = "--config.train.duration=2 steps", "--config.optimizer.schedule=constant"
    begun = succeed(*train(tmp_path, data, *options, f"--init={other}"))
    assert f"began with checkpoint 8 of {other}: " in begun
    assert re.search(r"params (\d+) of \1 arrays", begun)
    assert "left as drawn" not in begun
    longer = "--config.train.duration=3 steps", "--config.optimizer.schedule=constant"
    gone_on = succeed(*train(tmp_path, data, *longer, f"--init={other}"))
    assert "began with" not in gone_on
    assert "trained to step 3" in gone_on
    # Killed before its first checkpoint, a run still begins as it was told to.
    shutil.rmtree(tmp_path / "checkpoints")
    assert f"began with checkpoint 8 of {other}: " in succeed(*train(tmp_path, data, *longer))
    # The report's command for such a run says so as well.
    succeed(*command("report", f"--workdir={tmp_path}"))
    assert f"--init={other}" in (tmp_path / "report" / "index.html").read_text()
    refused = run(*train(tmp_path, data, *longer, "--init=runs/another"))
    assert f"began with --init={other}: leave --init away" in refused.stderr
    mistyped = run(*train(tmp_path / "new", data, *options, "--init=nowhere"))
    assert "no checkpoint in --init nowhere" in mistyped.stderr
    assert not (tmp_path / "new").exists()
    refused = run(*train(other, data, "--config.train.duration=9 steps"))
    assert "train.duration was '8 steps' and is now '9 steps'" in refused.stderr
    assert f"--init={other}" in refused.stderr


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Commands heed Ctrl-C, also where a shell started the tests in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_command_in_one_line(heeds_ctrl_c):
    words = command("linear_eval", "--checkpoint=nowhere")
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        next(line for line in process.stdout if line.startswith("waiting"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors


def test_following_ends_with_the_training(trained):
    workdir, _ = trained
    options = (f"--checkpoint={workdir}", "--follow", "--taps=pre_logits", "--examples=200")
    table = succeed(*command("linear_eval", *options))
    assert "step 4" in table
    assert "step 8" in table


def test_results_and_report_can_be_written_elsewhere(trained, tmp_path):
    workdir, _ = trained
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    output = tmp_path / "new" / "folder"
    options = "--examples=200", "--taps=pre_logits", "--representations=raw"
    succeed(*command("linear_eval", f"--checkpoint={workdir}", f"--output={output}", *options))
    (result,) = json.loads((output / "linear_eval.json").read_text())
    assert result["step"] == 8
    printed = succeed(*command("report", f"--workdir={workdir}", f"--output={output}"))
    page = output / "report" / "index.html"
    assert f"the report is {page}" in printed
    assert page.exists()
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_the_report_shows_the_run(trained):
    workdir, _ = trained
    succeed(*command("report", f"--workdir={workdir}"))
    page = (workdir / "report" / "index.html").read_text()
    assert page.count("<img") >= 3
    assert "<script" not in page


def judge(workdir: pathlib.Path) -> float:
    """The accuracy of the newest checkpoint's last tap, judged on a few examples."""
    options = "--examples=200", "--taps=pre_logits", "--representations=raw", "--once"
    succeed(*command("linear_eval", f"--checkpoint={workdir}", *options))
    (result,) = json.loads((workdir / "linear_eval.json").read_text())
    return result["taps"]["pre_logits"]


def test_a_steered_lens_on_whole_images_with_split_statistics_is_trained_resumed_and_judged(
    tmp_path, data
):
    options = (
        "--config.lens.acts_on=images",
        "--config.lens.batch_norm=split",
        "--config.lens.budget=target",
        "--config.lens.update_every=2",
        "--config.train.duration=4 steps",
        "--config.train.checkpoint_every=4 steps",
    )
    succeed(*train(tmp_path, data, *options))
    first, second = (row["lens_penalty"] for row in read_metrics(str(tmp_path)))
    assert second < first < 100  # the lens starts as the identity, and is let loose
    assert "going on from checkpoint 4" in succeed(*train(tmp_path, data, *options))
    assert 0 <= judge(tmp_path) <= 1


@pytest.mark.parametrize(
    ("task", "kind", "options"),
    [
        ("jigsaw", "pgd", ("--config.task.hidden=16", "--config.lens.attack_steps=2")),
        pytest.param(
            "relative_patch_location",
            "network",
            ("--config.task.hidden=16", "--config.lens.budget=bound"),
            marks=pytest.mark.slow,
        ),
        ("exemplar", "fgsm", ()),
    ],
)
def test_every_other_task_is_trained_and_judged(
    task: str, kind: str, options: tuple, tmp_path, data
):
    options = (
        f"--config.lens.kind={kind}",
        "--config.model.width=4",
        "--config.task.embedding=8",
        "--config.train.duration=2 steps",
        *options,
    )
    succeed(*train(tmp_path, data, *options, config=task))
    (row,) = read_metrics(str(tmp_path))
    assert row["lens_reconstruction"] > 0
    assert 0 <= judge(tmp_path) <= 1
