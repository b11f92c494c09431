import json
import os
import pathlib
import signal
import subprocess

import pytest

from .commands import REPOSITORY, TINY, command, run, succeed

DURATION = "train.duration='6 steps'"
GRID = f"lens.kind=none shortcut=none,arrow {DURATION} seed=0,1; lens.lambda=10 {DURATION} seed=0"
NAMES = (
    "lens.kind=none,shortcut=none,train.duration=6+steps,seed=0",
    "lens.kind=none,shortcut=none,train.duration=6+steps,seed=1",
    "lens.kind=none,shortcut=arrow,train.duration=6+steps,seed=0",
    "lens.kind=none,shortcut=arrow,train.duration=6+steps,seed=1",
    "lens.lambda_=10.0,train.duration=6+steps,seed=0",
)


# Compiling takes most of the time of these tests; a crash of a library's should say where.
ENVIRONMENT = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONFAULTHANDLER": "1"}


def sweep(workdir: pathlib.Path, data: pathlib.Path, *options: str, grid: str = GRID) -> list[str]:
    """The command that sweeps over tiny networks on digits."""
    return command(
        "sweep",
        "--config=configs/rotation.py:digits",
        f"--workdir={workdir}",
        f"--config.data.dir={data}",
        *TINY,
        "--config.train.checkpoint_every=3 steps",
        "--examples=200",
        "--representations=raw,concat",
        f"--grid={grid}",
        *options,
    )


def kill_in_the_third_run(words: list[str]) -> None:
    with subprocess.Popen(
        words, cwd=REPOSITORY, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("[3/5]"):
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def swept(tmp_path_factory, data):
    """A sweep that was killed and started again.

    Returns its folder, the metrics that the first part left, and what the second part printed.
    """
    workdir = tmp_path_factory.mktemp("sweep")
    kill_in_the_third_run(sweep(workdir, data))
    left = {
        path.name: (path / "metrics.jsonl").read_bytes()
        for path in map(workdir.joinpath, NAMES[:2])
    }
    (workdir / "killed.md").write_bytes((workdir / "table.md").read_bytes())
    return workdir, left, succeed(*sweep(workdir, data), **ENVIRONMENT)


def test_the_table_of_a_killed_sweep_counts_what_was_finished(swept):
    workdir, _, _ = swept
    counts = [
        line.split(" | ")[-1] for line in (workdir / "killed.md").read_text().splitlines()[2:5]
    ]
    assert counts == ["2 |", "0 of 2 |", "0 of 1 |"]


def test_started_again_it_skips_what_is_finished_and_does_the_rest(swept):
    workdir, left, output = swept
    titles = [line for line in output.splitlines() if line.startswith("[")]
    assert titles == [
        f"[{place}/5] {workdir / name}" + (" is finished" if place < 3 else "")
        for place, name in enumerate(NAMES, 1)
    ]
    assert {name: (workdir / name / "metrics.jsonl").read_bytes() for name in left} == left


def test_the_table_holds_what_the_evaluations_found(swept):
    workdir, _, output = swept
    text = (workdir / "table.md").read_text()
    assert output.endswith(f"\n{text}\n")
    head, _, *rows = text.split("\n\n")[0].splitlines()
    assert head == (
        "| lens.kind | shortcut | lens.lambda_ | linear raw | linear concat | kNN raw | "
        "RankMe raw | color raw | pretext clean | pretext clean lensed | pretext shortcut | "
        "pretext shortcut lensed | seconds | seeds |"
    )
    table = json.loads((workdir / "table.json").read_text())
    assert [row["settings"].get("shortcut") for row in table["rows"]] == ["none", "arrow", None]
    for row, line in zip(table["rows"], rows, strict=True):
        for seed in row["seeds"]:
            config = json.loads((workdir / seed["folder"] / "config.json").read_text())["config"]
            assert config["seed"] == seed["seed"]
            evaluations = json.loads((workdir / seed["folder"] / "linear_eval.json").read_text())
            for evaluation in evaluations:
                assert evaluation["step"] == 6
                column = f"linear_accuracy_{evaluation['representation']}"
                assert seed[column] == evaluation["taps"]["pre_logits"]
                for name in ("knn_accuracy", "rankme", "color_r2"):
                    assert seed[f"{name}_{evaluation['representation']}"] == evaluation[name]
                assert seed["pretext_accuracy_shortcut"] == evaluation["pretext_accuracy_shortcut"]
        mean = sum(seed["linear_accuracy_raw"] for seed in row["seeds"]) / len(row["seeds"])
        assert f"{100 * mean:.1f}" in line
    assert [len(row["seeds"]) for row in table["rows"]] == [2, 2, 1]
    assert ["linear_accuracy_concat" in row["summary"] for row in table["rows"]] == [
        False,
        False,
        True,
    ]


def test_more_seeds_and_pieces_join_the_same_table(swept, data):
    workdir, _, _ = swept
    grid = (
        f"lens.kind=none shortcut=none,arrow {DURATION} seed=0,1; {DURATION} lens.kind=none seed=0"
    )
    first = succeed(*sweep(workdir, data, "--index=1", "--of=2", grid=grid), **ENVIRONMENT)
    assert [line for line in first.splitlines() if line.startswith("[")] == [
        f"[{place}/2] {workdir / name} is finished" for place, name in enumerate(NAMES[1:4:2], 1)
    ]
    assert (workdir / "table.md").read_text().splitlines()[4].endswith(" 0 of 1 |")
    second = succeed(*sweep(workdir, data, "--index=0", "--of=2", grid=grid), **ENVIRONMENT)
    assert second.count(" is finished") == 2
    assert f"[3/3] {workdir}/lens.kind=none,train.duration=6+steps,seed=0\n" in second
    counts = [
        line.split(" | ")[-1] for line in (workdir / "table.md").read_text().splitlines()[2:5]
    ]
    assert counts == ["2 |", "2 |", "1 |"]


def test_a_trained_run_whose_evaluation_is_lost_is_only_evaluated(swept, data):
    workdir, _, _ = swept
    path = workdir / NAMES[0] / "linear_eval.json"
    (before,) = json.loads(path.read_text())
    path.unlink()
    output = succeed(
        *sweep(workdir, data, grid=f"lens.kind=none shortcut=none {DURATION} seed=0"), **ENVIRONMENT
    )
    assert "is finished" not in output
    assert "compiled the step" not in output
    (after,) = json.loads(path.read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path, data):
    grid = "lens.kind=none optimizer.learning_rate=1e30,0.1 train.duration='4 steps' seed=0"
    result = run(*sweep(tmp_path, data, grid=grid), **ENVIRONMENT)
    assert result.returncode == 1
    failed, ended = [
        line for line in result.stderr.splitlines() if line.startswith(("failed: ", "error: "))
    ]
    assert "optimizer.learning_rate=1e%2B30," in failed
    assert " at step " in failed
    assert ended.startswith("error: 1 of 2 runs failed")
    assert "Traceback" not in result.stderr
    bad, good = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert (bad["seeds"][0]["state"], good["seeds"][0]["state"]) == ("failed", "finished")
    assert " at step " in bad["seeds"][0]["error"]
    assert "| failed (0 of 1 finished) |" in (tmp_path / "table.md").read_text()


def test_a_dry_run_checks_and_prints_the_runs_and_writes_nothing(tmp_path, data):
    workdir = tmp_path / "sweep"
    output = succeed(*sweep(workdir, data, "--dry_run"))
    assert [line.split()[0] for line in output.splitlines()] == [f"{workdir / n}" for n in NAMES]
    assert "train.duration=6 steps" in output
    piece = succeed(*sweep(workdir, data, "--dry_run", "--index=1", "--of=3"))
    assert piece.splitlines() == output.splitlines()[1::3]

    # What only shows when the step is traced: images too small for a task.
    refused = run(
        *command("sweep", "--config=configs/jigsaw.py:digits", f"--workdir={workdir}"),
        f"--config.data.dir={data}",
        "--grid=data.image_size=32,8",
        "--dry_run",
    )
    assert refused.returncode == 1
    assert "images of 8x8 px are too small" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--grid=seed",), ("'seed'", "lens.lambda_=10,100")),
        (("--grid=lens.lamda=3",), ("'lens.lamda'", "lens.lambda_")),
        (("--grid=train.duration='6 steps',never",), ("'never'", "epochs")),
        (("--taps=block9",), ("'block9'", "pre_logits")),
        (("--taps=",), ("--taps", "pre_logits")),
        (("--index=2", "--of=2"), ("--index=2", "--of=2")),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(options, words, tmp_path, data):
    result = run(*sweep(tmp_path / "sweep", data, *options))
    assert result.returncode == 1, result.stdout + result.stderr
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(word in error for word in words), error
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "sweep").exists()
