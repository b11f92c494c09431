import pathlib
import re
import shlex

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from lens_jax import config as configs
from lens_jax.defaults import DATASETS
from lens_jax.errors import UserError
from lens_jax.report import runs
from lens_jax.workdir import files

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def read_config(*words: str) -> ConfigDict:
    """The config that these words of a command line set."""
    values, line = flags.FlagValues(), ["main", *words]
    holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=line)
    values(line)
    return holder.value


def test_finds_the_runs_of_a_folder_those_with_a_lens_last(add_run):
    add_run("a_lens", "arrow", kind="network")
    add_run("an_attack", "none", kind="fgsm")
    add_run("arrow", "arrow")
    folder = add_run("clean")
    (folder / "notes").mkdir()
    names = [run.name for run in runs.find_runs(str(folder))]
    assert names == ["clean", "arrow", "an_attack", "a_lens"]


def test_one_run_is_found_by_its_own_folder(add_run):
    folder = add_run("clean") / "clean"
    assert [run.name for run in runs.find_runs(str(folder))] == ["clean"]
    assert files.is_run(str(folder))
    assert not files.is_run(str(folder.parent))


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_run_is_the_users_mistake(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / name}: train first")):
        runs.find_runs(str(tmp_path / name))


def test_a_broken_file_is_named(add_run):
    folder = add_run("clean")
    (folder / "clean" / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is not JSON"):
        runs.find_runs(str(folder))


def test_summary_of_a_lens_run(add_run, accuracy):
    pretext = {"pretext_accuracy_clean": 0.88, "pretext_accuracy_clean_lensed": 0.87}
    evaluations = [
        accuracy(0.1, step=3),  # of an earlier checkpoint
        accuracy(0.6, step=9, train_examples=50),  # by fewer labels
        accuracy(0.7, step=9, **pretext),
        accuracy(0.77, step=9, representation="concat", **pretext),
    ]
    rows = [{"step": 1, "epoch": 1, "seconds": 3.5}, {"step": 2, "epoch": 2, "seconds": 7.0}]
    (run,) = runs.find_runs(str(add_run("lens", "arrow", "network", rows, evaluations)))
    assert run.linear == {"raw": 0.7, "concat": 0.77}
    assert runs.summarize(run) == {
        "linear_accuracy_raw": 0.7,
        "linear_accuracy_concat": 0.77,
        "pretext_accuracy_clean": 0.88,
        "pretext_accuracy_clean_lensed": 0.87,
        "seconds": 7.0,
    }


def test_summary_leaves_out_what_is_missing(add_run):
    (run,) = runs.find_runs(str(add_run("lens", "arrow", kind="network")))
    assert runs.summarize(run) == {}


def test_only_differing_settings_are_listed(add_run):
    add_run("clean")
    found = runs.find_runs(str(add_run("lens", "arrow", kind="network")))
    expected = {"lens.kind": ["none", "network"], "shortcut": ["none", "arrow"]}
    assert runs.differing_settings(found) == expected
    assert runs.differing_settings(found[:1]) == {}


def test_the_training_command_spells_out_every_setting(add_run):
    (run,) = runs.find_runs(str(add_run("my run; rm")))
    words = shlex.split(runs.training_command(run).replace("\\\n", ""))
    assert words[:4] == ["python", "-m", "lens_jax.main", "--config=rotation:glyphs"]
    assert words[4] == f"--workdir={run.workdir}-again"
    assert "--config.lens.widths=(64, 128)" in words
    assert len(words) == 5 + len(runs.flatten(run.config))


@pytest.mark.filterwarnings("ignore:the load_module")  # by which ml_collections reads the file
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
@pytest.mark.parametrize("variant", DATASETS)
def test_the_training_command_gives_the_config_again(path: pathlib.Path, variant: str):
    original = read_config(f"--config={path}:{variant}")
    original.unlock()
    original.seed = 7
    original.lens.widths = (8, 24, 40)
    original.data.dir = "folder with spaces/$HOME"
    run = runs.TrainedRun("it's", "it's", configs.to_json(original), [], {}, {})
    words = shlex.split(runs.training_command(run).replace("\\\n", ""))
    assert words[3] == f"--config={path.stem}:{variant}"
    assert words[4] == "--workdir=it's-again"
    begun = shlex.split(runs.training_command(run._replace(init="other run")))
    assert "--init=other run" in begun
    again = read_config(f"--config={path}:{variant}", *words[5:])
    assert configs.to_json(again) == run.config
