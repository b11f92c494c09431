"""Run folders as plain values: what was trained, what was measured, and what a lens won back."""

import shlex
from typing import Any, NamedTuple

from etils import epath

from lens_jax.defaults import DATASETS
from lens_jax.errors import UserError
from lens_jax.workdir import files
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import read_results

MEASURED = (
    "linear_accuracy",
    "pretext_accuracy_clean",
    "pretext_accuracy_shortcut",
    "pretext_accuracy_clean_lensed",
    "pretext_accuracy_shortcut_lensed",
)
# Two linear accuracies are only compared where these are the same.
EVALUATED_AS = ("dataset", "solver", "train_examples")
# The variant of a config file that trains on a data set.
VARIANTS = {settings["data"]["name"]: variant for variant, settings in DATASETS.items()}
Numbers = dict[str, float]


class Run(NamedTuple):
    """One run: its folder's name and path, its config, its metrics' rows and its newest evaluation.

    `evaluation` is empty where nothing was evaluated yet, and `rows` where nothing was logged.
    """

    name: str
    workdir: str
    config: dict[str, Any]
    rows: list[dict[str, float]]
    evaluation: dict[str, Any]

    @property
    def kind(self) -> str:
        """What altered its inputs: "network" (a lens), an attack such as "pgd", or "none"."""
        return self.config["lens"]["kind"]

    @property
    def has_lens(self) -> bool:
        """Whether a lens was trained."""
        return self.kind == "network"


class References(NamedTuple):
    """The two runs on unaltered inputs that another is judged by: with its shortcut, and with none."""

    shortcut: Run
    clean: Run


def find_runs(workdir: str) -> list[Run]:
    """The run in `workdir`, or those in its direct subfolders: clean ones first, those with a lens
    last.

    Raises `UserError` where there is none, or where a file of one is not JSON.
    """
    root = epath.Path(workdir)
    if files.is_run(workdir):
        return [_read_run(root)]
    folders = sorted(root.iterdir()) if root.is_dir() else []
    runs = [_read_run(folder) for folder in folders if files.is_run(str(folder))]
    if not runs:
        raise UserError(
            f"no run in {workdir}: train first, with python -m lens_jax.main --workdir={workdir}"
        )
    return sorted(
        runs,
        key=lambda run: (
            run.has_lens,
            run.kind != "none",
            run.config["shortcut"] != "none",
            run.name,
        ),
    )


def _read_run(folder: epath.Path) -> Run:
    return Run(
        _printable(folder.absolute().name),
        str(folder),
        files.read_config(str(folder)),
        read_metrics(str(folder)),
        next(reversed(read_results(str(folder))), {}),
    )


def _printable(name: str) -> str:
    """A folder may be named by bytes that are no text, or that steer a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def recovered(lens: float, shortcut: float, clean: float) -> float | None:
    """The share of what the shortcut cost that the lens won back; 1 is all of it, below 0 it cost
    more.

    Takes linear accuracies: with the lens (or an attack), with the shortcut and no lens, with
    neither. None where the shortcut cost nothing, as there is nothing to win back then.
    """
    return (lens - shortcut) / (clean - shortcut) if clean > shortcut else None


def find_references(run: Run, runs: list[Run]) -> References | None:
    """What to judge a run with altered inputs by: runs of its data set, task and seed, evaluated as
    it was.

    Of several that fit, the first one in `runs` counts; None where one of the two is missing.
    """
    by_shortcut = {
        other.config["shortcut"]: other
        for other in reversed(runs)
        if other.kind == "none" and _evaluated_alike(run, other)
    }
    shortcut = run.config["shortcut"]
    if run.kind == "none" or shortcut == "none" or not {shortcut, "none"} <= by_shortcut.keys():
        return None
    return References(by_shortcut[shortcut], by_shortcut["none"])


def _evaluated_alike(one: Run, other: Run) -> bool:
    def described(run: Run) -> list[Any]:
        config, evaluation = run.config, run.evaluation
        names = config["data"]["name"], config["task"]["name"], config["seed"]
        return [
            *names,
            *(evaluation.get(key) for key in EVALUATED_AS),
            "linear_accuracy" in evaluation,
        ]

    return described(one) == described(other) and "linear_accuracy" in one.evaluation


def summarize(run: Run, runs: list[Run]) -> Numbers:
    """The numbers of one run among `runs`; what is not known is left out."""
    numbers = {key: run.evaluation[key] for key in MEASURED if key in run.evaluation}
    if run.rows:
        numbers["seconds"] = run.rows[-1]["seconds"]
    references = find_references(run, runs)
    accuracies = (
        (each.evaluation["linear_accuracy"] for each in (run, *references)) if references else ()
    )
    share = recovered(*accuracies) if references else None
    return numbers if share is None else numbers | {"recovered": share}


def differing_settings(runs: list[Run]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with its value in each run (None: not there)."""
    flat = [flatten(run.config) for run in runs]
    values = {key: [each.get(key) for each in flat] for key in sorted(set().union(*flat))}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {"lens": {"blocks": 1}} -> {"lens.blocks": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat


def training_command(run: Run) -> str:
    """The command that trains such a run again, every setting spelled out and safe for a shell."""
    variant = VARIANTS[run.config["data"]["name"].partition("/")[0]]
    settings = {
        key: tuple(v) if isinstance(v, list) else v for key, v in flatten(run.config).items()
    }
    words = [
        f"--config=configs/{run.config['task']['name']}.py:{variant}",
        f"--workdir={run.workdir}-again",
        *(f"--config.{key}={value}" for key, value in settings.items()),
    ]
    return " \\\n  ".join(["python -m lens_jax.main", *map(shlex.quote, words)])
