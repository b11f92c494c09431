"""Shows what a lens removed, on one page that opens in any browser.

    python -m lens_jax.report --workdir=runs/lens      (one run)
    python -m lens_jax.report --workdir=runs           (all runs in its subfolders, compared)

Writes report/index.html and its images into that folder, or into --output, and, of several runs,
summary.json with the numbers.
"""

from absl import flags

from lens_jax import cli

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or of several runs.")
EXAMPLES = flags.DEFINE_integer(
    "examples", 16, "Number of images shown through each lens.", lower_bound=1
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the data set is; the run's data.dir by default."
)
OUTPUT = flags.DEFINE_string(
    "output", "", "Folder for the page and the summary; the runs' folder by default."
)


def main() -> None:
    """Writes the page and prints where it is."""
    from lens_jax.report.write import write_report

    write_report(
        WORKDIR.value,
        examples=EXAMPLES.value,
        data_dir=DATA_DIR.value,
        output=OUTPUT.value,
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    cli.run(main)
