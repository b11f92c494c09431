r"""Trains and evaluates a grid of settings, and writes one table of all runs.

    python -m lens_jax.sweep --config=configs/rotation.py:glyphs --workdir=runs/sweep \
      --config.shortcut=arrow --grid="lens.lambda_=10,100,1000 seed=0,1,2; lens.kind=none
      seed=0,1,2"

Words of the grid multiply, ";" joins products, and seed is what is averaged over; quotes keep a
value with spaces together: train.duration='8 epochs'. The word config names the config file, for
a table of several methods: --grid="config=simclr:glyphs,moco:glyphs seed=0,1,2".

Each run has a folder of its own in --workdir, and table.md and table.json there hold the results so
far. Started again, the same command skips what is finished and goes on where it stopped. On a
cluster, --index=0 --of=8 to --index=7 --of=8 are eight jobs that share the work.
"""

from absl import flags
from ml_collections import config_flags

from lens_jax import cli
from lens_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "What all runs have in common, as for lens_jax.main; or config= in --grid."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs' folders and the table.")
GRID = flags.DEFINE_string("grid", None, "What differs, such as 'lens.lambda_=10,100 seed=0,1,2'.")
INDEX = flags.DEFINE_integer("index", 0, "Which piece of the grid to run, from 0.", lower_bound=0)
OF = flags.DEFINE_integer("of", 1, "Into how many pieces the grid is divided.", lower_bound=1)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Only check the runs and print their folders and settings."
)
DATASET = flags.DEFINE_string(
    "dataset", "", "Data set to classify, in data.dir; the run's own by default."
)
BOXES = flags.DEFINE_enum(
    "boxes",
    "",
    ["", "none", "each", "largest"],
    "Classify images, or boxes in them; as each run was trained by default.",
)
EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Number of labeled training examples, all by default.", 1
)
TAPS = flags.DEFINE_list("taps", ["pre_logits"], "Taps to classify; the table shows the last one.")
REPRESENTATIONS = flags.DEFINE_list(
    "representations", [], "By default raw,lensed,concat with a lens; without one it is always raw."
)
NETWORK = flags.DEFINE_enum(
    "network", "online", ["online", "target"], "Evaluate the trained network or its average."
)
SHORTCUT = flags.DEFINE_string(
    "shortcut", "", "For pretext accuracy; the run's by default, arrow if it has none."
)


def main() -> None:
    """Trains and evaluates this piece of the grid, then prints the table of the whole grid."""
    if INDEX.value >= OF.value:
        raise UserError(f"--index={INDEX.value} is no piece of --of={OF.value}: count from 0")
    if not TAPS.value:
        raise UserError("--taps is empty: name at least one, such as pre_logits")
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.eval.options import Options
    from lens_jax.sweep.execute import sweep
    from lens_jax.sweep.grid import make_runs, to_text
    from lens_jax.sweep.jobs import make_jobs

    options = Options(
        dataset=DATASET.value,
        boxes=BOXES.value,
        examples=EXAMPLES.value,
        taps=tuple(TAPS.value),
        network=NETWORK.value,
        shortcut=SHORTCUT.value,
    )
    runs = make_runs(CONFIG.value, GRID.value)
    jobs = make_jobs(runs, WORKDIR.value, options, tuple(REPRESENTATIONS.value))
    piece = slice(INDEX.value, None, OF.value)
    if not DRY_RUN.value:
        sweep(jobs, WORKDIR.value, piece)
        return

    for job in jobs[piece]:
        settings = [f"{key}={to_text(value)}" for key, value in job.run.settings.items()]
        print(f"{job.workdir}  {'  '.join(settings)}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir", "grid"])
    cli.run(main)
