"""Measures how much the features of runs tell of their augmentations: with and without EquiMod.

    python -m benchmarks.augmentation_r2 --checkpoint=runs/simclr --checkpoint=runs/equimod

For each run's newest checkpoint it prints R2, on test images, of ridge regression of each parameter
of the augmentation from the features of an image and of a view of it: 1 where it is told exactly, 0
where nothing is told of it. Views are drawn with each run's own augmentations, so that only runs
with the same ones can be compared; a dash stands for what does not vary. The suite `equivariance`
of `lens_jax.evaluate` has the same numbers of one run.

    top, left, height, width    of the crop, in pixels of the image
    operation 1 to 4            which change of colors comes first, second, ...
    flip, jitter, gray, blur, solarize    whether it happens
"""

from absl import flags

from benchmarks.command import check_json, write_json
from lens_jax import cli
from lens_jax.ops.draws import NAMES

Scores = dict[str, float]


def measure(checkpoint: str, examples: int) -> Scores:
    """R2 of each parameter in the newest checkpoint of a run, and their "mean"."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.data.source import open_split
    from lens_jax.eval.augmentation import measure_r2
    from lens_jax.eval.frozen import load

    frozen = load(checkpoint)
    data = frozen.config.data
    train = open_split(data, data.train_split)
    test = open_split(data, data.eval_split)
    return measure_r2(frozen, train, test, examples)


def table(scores: dict[str, Scores]) -> list[str]:
    """The runs by number; then for each parameter that some run varies, a column for each run."""
    lines = []
    # Folders of a sweep have long names.
    for number, run in enumerate(scores, 1):
        lines.append(f"({number}) {run}")
    numbers = [f"({number})" for number in range(1, len(scores) + 1)]
    lines.append(_row("R2", numbers))

    for name in (*NAMES, "mean"):
        found = [column.get(name) for column in scores.values()]
        if any(score is not None for score in found):
            lines.append(_row(name, ["-" if score is None else f"{score:.3f}" for score in found]))
    return lines


def _row(name: str, cells: list[str]) -> str:
    return f"{name:<12}" + "".join(f"{cell:>8}" for cell in cells)


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_multi_string(
        "checkpoint", None, "Work directory of a run; several are compared.", required=True
    )
    flags.DEFINE_integer("examples", 4000, "Images to learn from, and to test on, at most.", 2)
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> None:
    """Measures and prints the scores of the runs that the command line names."""
    options = flags.FLAGS
    check_json(options.json)
    scores = {run: measure(run, options.examples) for run in options.checkpoint}
    print(*table(scores), sep="\n")
    if options.json:
        write_json(options.json, scores)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
