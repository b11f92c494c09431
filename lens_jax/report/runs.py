"""Run folders as plain values: what was trained, what was measured, how they compare."""

import shlex
from typing import Any, NamedTuple

from etils import epath

from lens_jax.defaults import DATASETS
from lens_jax.errors import UserError
from lens_jax.workdir import files
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import DATA_KEYS, describe_data, read_results

MEASURED = (
    "linear_accuracy",
    "pretext_accuracy_clean",
    "pretext_accuracy_shortcut",
    "pretext_accuracy_clean_lensed",
    "pretext_accuracy_shortcut_lensed",
)
# Two linear accuracies are only compared where these settings of the evaluation are the same.
EVALUATED_AS = ("solver", *DATA_KEYS)
# The variant of a config file that trains on a data set.
VARIANTS = {settings["data"]["name"]: variant for variant, settings in DATASETS.items()}
# What is known of a run, by name: `MEASURED`, "seconds" of training, "recovered".
Numbers = dict[str, float]


class TrainedRun(NamedTuple):
    """A run as its folder holds it.

    Attributes:
      name: name of the folder, printable.
      workdir: path of the folder.
      config: the run's config.
      rows: rows of its metrics, oldest first; empty where nothing was logged.
      evaluation: its newest evaluation; empty where nothing was evaluated yet.

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

    @property
    def linear_accuracy(self) -> float | None:
        """The linear accuracy of the newest evaluation, if there is one."""
        return self.evaluation.get("linear_accuracy")

    @property
    def measured_on(self) -> str:
        """The data of the newest evaluation; "" where nothing was evaluated yet."""
        return describe_data(self.evaluation)


class References(NamedTuple):
    """The two runs on unaltered inputs that a run with altered inputs is compared with.

    Attributes:
      shortcut: trained with its shortcut.
      clean: trained without a shortcut.

    """

    shortcut: TrainedRun
    clean: TrainedRun


def find_runs(workdir: str) -> list[TrainedRun]:
    """The run in `workdir`, or the runs in its direct subfolders.

    Clean runs come first, those with a lens last. Raises `UserError` where there is none, or where
    a file of one is not JSON.
    """
    root = epath.Path(workdir)
    if files.is_run(workdir):
        return [_read_run(root)]
    runs = []
    folders = sorted(root.iterdir()) if root.is_dir() else []
    for folder in folders:
        if files.is_run(str(folder)):
            runs.append(_read_run(folder))
    if not runs:
        raise UserError(
            f"no run in {workdir}: train first, with python -m lens_jax.main --workdir={workdir}"
        )
    return sorted(runs, key=_order)


def _read_run(folder: epath.Path) -> TrainedRun:
    workdir = str(folder)
    evaluations = read_results(workdir)
    return TrainedRun(
        name=_printable(folder.absolute().name),
        workdir=workdir,
        config=files.read_config(workdir),
        rows=read_metrics(workdir),
        evaluation=evaluations[-1] if evaluations else {},
    )


def _printable(name: str) -> str:
    """The name without characters that are no text or that steer a terminal."""
    printable = ""
    for letter in name:
        printable += letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
    return printable


def _order(run: TrainedRun) -> tuple[bool, bool, bool, str]:
    # False sorts before True: clean, shortcut, attack, lens; then by name.
    has_shortcut = run.config["shortcut"] != "none"
    return run.has_lens, run.kind != "none", has_shortcut, run.name


def recovered_fraction(lens: float, shortcut: float, clean: float) -> float | None:
    """The fraction of the accuracy lost to a shortcut that a lens recovers.

    (lens - shortcut) / (clean - shortcut): 1 is all of it; below 0, the lens loses even more.

    Args:
      lens: linear accuracy with the shortcut and the lens (or an attack).
      shortcut: linear accuracy with the shortcut and no lens.
      clean: linear accuracy with neither.

    Returns:
      The fraction, or None where the shortcut cost nothing: there is nothing to recover then.

    """
    if clean > shortcut:
        return (lens - shortcut) / (clean - shortcut)
    return None


def find_references(run: TrainedRun, runs: list[TrainedRun]) -> References | None:
    """The references of a run with altered inputs; None where one of the two is missing.

    They have its data set, task and seed, and were evaluated as it was. Of several that fit, the
    first one in `runs` counts.
    """
    shortcut = run.config["shortcut"]
    if run.kind == "none" or shortcut == "none":
        return None

    # The comparable runs on unaltered inputs, by the shortcut that was drawn into them.
    by_shortcut = {}
    for other in runs:
        if other.kind == "none" and _comparable(run, other):
            by_shortcut.setdefault(other.config["shortcut"], other)
    if shortcut in by_shortcut and "none" in by_shortcut:
        return References(by_shortcut[shortcut], by_shortcut["none"])
    return None


def _comparable(one: TrainedRun, other: TrainedRun) -> bool:
    """Whether the linear accuracies of two runs can be compared."""
    if one.linear_accuracy is None or other.linear_accuracy is None:
        return False
    return _setup(one) == _setup(other)


def _setup(run: TrainedRun) -> list[Any]:
    """What must be the same in two runs that are compared."""
    config = run.config
    return [
        config["data"]["name"],
        config["task"]["name"],
        config["seed"],
        *(run.evaluation.get(key) for key in EVALUATED_AS),
    ]


def summarize(run: TrainedRun, runs: list[TrainedRun]) -> Numbers:
    """The numbers of one run among `runs`; what is not known is left out."""
    numbers = {}
    for key in MEASURED:
        if key in run.evaluation:
            numbers[key] = run.evaluation[key]
    if run.rows:
        numbers["seconds"] = run.rows[-1]["seconds"]

    references = find_references(run, runs)
    if references is None:
        return numbers
    fraction = recovered_fraction(
        lens=run.linear_accuracy,
        shortcut=references.shortcut.linear_accuracy,
        clean=references.clean.linear_accuracy,
    )
    if fraction is not None:
        numbers["recovered"] = fraction
    return numbers


def differing_settings(runs: list[TrainedRun]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with its value in each run.

    The value is None in a run that does not have the setting.
    """
    settings = [flatten(run.config) for run in runs]
    keys = set().union(*settings)
    differing = {}
    for key in sorted(keys):
        values = [each.get(key) for each in settings]
        if any(value != values[0] for value in values):
            differing[key] = values
    return differing


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {"lens": {"blocks": 1}} -> {"lens.blocks": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def training_command(run: TrainedRun) -> str:
    """The command that trains such a run again, with every setting, quoted for a shell."""
    task = run.config["task"]["name"]
    # A data set may be named with its TFDS config: glyphs/large.
    variant = VARIANTS[run.config["data"]["name"].partition("/")[0]]
    words = [
        f"--config=configs/{task}.py:{variant}",
        f"--workdir={run.workdir}-again",
    ]
    for key, value in flatten(run.config).items():
        # A config has tuples where its JSON has lists.
        setting = tuple(value) if isinstance(value, list) else value
        words.append(f"--config.{key}={setting}")
    quoted = [shlex.quote(word) for word in words]
    return " \\\n  ".join(["python -m lens_jax.main", *quoted])
