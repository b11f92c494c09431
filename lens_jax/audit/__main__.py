"""Tells what a folder of images gives away, on one page that opens in any browser.

    python -m lens_jax.audit --images=FOLDER
    python -m lens_jax.audit --images=FOLDER --labels=labels.csv --output=audits/mine

    python -m lens_jax.audit --images=FOLDER --minutes=30 --tasks=supervised,rotation,jigsaw
    python -m lens_jax.audit --images=FOLDER --output=audits/cleaned --compare=audits/mine

Writes index.html, findings.json and flagged.csv into --output. Stopped at any time, the page says
what is missing, and the same command goes on from there. With --fail_above, the exit status is 2
where a finding has a higher score.
"""

import sys

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
FAIL_ABOVE = flags.DEFINE_float(
    "fail_above", None, "Exit status 2 if a finding has a higher score, in points from 0 to 50."
)
COMPARE = flags.DEFINE_string(
    "compare", "", "The --output of another audit, such as the one before cleaning."
)
# 1 is a mistake of the user's.
FOUND = 2


def main() -> None:
    """Audits the folder and prints where the page is."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.audit.audit import Options, audit
    from lens_jax.audit.lens_parts import LensOptions

    lens = LensOptions(MINUTES.value, tuple(TASKS.value), CHECKPOINT.value)
    options = Options(
        IMAGES.value, LABELS.value, OUTPUT.value, SEED.value, lens=lens, compare=COMPARE.value
    )
    highest = audit(options)
    if FAIL_ABOVE.value is not None and highest > FAIL_ABOVE.value:
        print(f"the highest score is {highest:.1f}, above {FAIL_ABOVE.value:g}", file=sys.stderr)
        sys.exit(FOUND)


if __name__ == "__main__":
    flags.mark_flags_as_required(["images"])
    cli.run(main)
