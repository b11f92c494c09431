import json

import pytest

from .commands import REPOSITORY, run, succeed

SHRUNKEN = (
    "--config.model.width=4",
    "--config.lens.widths=(8, 8)",
    "--config.data.batch_size=8",
    "--config.train.duration=2 steps",
)


def quickstart(*arguments: str) -> tuple[str, ...]:
    return ("bash", str(REPOSITORY / "launch" / "quickstart.sh"), *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quick start")
    return workdir, succeed(*quickstart(f"--workdir={workdir}", "--seed=3", "--", *SHRUNKEN))


def test_the_three_runs_are_summed_up(finished):
    workdir, output = finished
    summary = json.loads((workdir / "summary.json").read_text())
    assert list(summary) == ["clean", "arrow", "lens"]
    for numbers in summary.values():
        assert {
            "linear_accuracy_raw",
            "pretext_accuracy_clean",
            "pretext_accuracy_shortcut",
            "seconds",
        } <= numbers.keys()
    assert {"change_fraction_in_mask", "mask_fraction"} <= summary["lens"].keys()
    accuracies = [summary[name]["linear_accuracy_raw"] for name in summary]
    if "recovered_raw" in summary["lens"]:
        expected = (accuracies[2] - accuracies[1]) / (accuracies[0] - accuracies[1])
        assert summary["lens"]["recovered_raw"] == pytest.approx(expected)
    else:
        assert "within the noise" in output
    assert "linear_accuracy_concat" in summary["lens"]
    assert str(workdir / "report" / "index.html") in output


def test_the_runs_differ_only_in_shortcut_and_lens(finished):
    workdir, _ = finished
    configs = {
        name: json.loads((workdir / name / "config.json").read_text())["config"]
        for name in ("clean", "arrow", "lens")
    }
    chosen = {name: (c["shortcut"], c["lens"].pop("kind")) for name, c in configs.items()}
    assert chosen == {
        "clean": ("none", "none"),
        "arrow": ("arrow", "none"),
        "lens": ("arrow", "network"),
    }
    rest = [{key: value for key, value in c.items() if key != "shortcut"} for c in configs.values()]
    assert rest[0] == rest[1] == rest[2]
    assert rest[0]["seed"] == 3


def test_a_dry_run_only_prints_commands(tmp_path):
    output = succeed(*quickstart("--dry-run", f"--workdir={tmp_path / 'run'}"))
    lines = output.splitlines()
    assert [line.split()[3] for line in lines] == ["lens_jax.main", "lens_jax.linear_eval"] * 3 + [
        "lens_jax.report"
    ]
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_is_refused():
    result = run(*quickstart("--work_dir=x"))
    assert result.returncode == 1
    assert "--work_dir=x" in result.stderr
    assert "--workdir=" in result.stderr
