"""Tells what a folder of images gives away, on one page that opens in any browser.

    python -m lens_jax.audit --images=FOLDER
    python -m lens_jax.audit --images=FOLDER --labels=labels.csv --output=audits/mine

    python -m lens_jax.audit --images=FOLDER --minutes=30 --tasks=supervised,rotation,jigsaw

Writes index.html, findings.json and flagged.csv into --output. Stopped at any time, the page says
what is missing, and the same command goes on from there.
"""

from absl import flags

from lens_jax import cli

IMAGES = flags.DEFINE_string(
    "images", None, "Folder of images, such as FOLDER/CLASS/IMAGE or FOLDER/train/CLASS/IMAGE."
)
LABELS = flags.DEFINE_string(
    "labels", "", "CSV file with the columns file,label; labels are the folders by default."
)
OUTPUT = flags.DEFINE_string("output", "audit", "Folder to write into.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of all random choices.", lower_bound=0)
MINUTES = flags.DEFINE_float(
    "minutes", 10, "How long lenses are trained, all together; 0: not at all.", lower_bound=0
)
TASKS = flags.DEFINE_list(
    "tasks",
    "supervised,rotation",
    "What they are trained for: supervised, rotation, relative_patch_location, jigsaw, simclr.",
)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "", "Folder of a run whose lens is shown on these images, instead of training."
)


def main() -> None:
    """Audits the folder and prints where the page is."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.audit.audit import Options, audit
    from lens_jax.audit.lens_parts import LensOptions

    lens = LensOptions(MINUTES.value, tuple(TASKS.value), CHECKPOINT.value)
    audit(Options(IMAGES.value, LABELS.value, OUTPUT.value, SEED.value, lens))


if __name__ == "__main__":
    flags.mark_flags_as_required(["images"])
    cli.run(main)
