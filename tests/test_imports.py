import subprocess
import sys

HEAVY = ("tensorflow", "tensorflow_datasets", "clu", "grain", "matplotlib", "cv2")
LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded_by(module: str) -> set[str]:
    """The top-level modules that are there after one import in a fresh interpreter."""
    words = [sys.executable, "-c", f"import {module}; {LOADED}"]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


def test_the_training_step_needs_no_data_pipeline_and_no_plotting():
    loaded = loaded_by("lens_jax.train.compiling")
    assert {"lens_jax", "jax", "flax", "optax"} <= loaded
    assert not loaded & {*HEAVY, "ml_collections", "orbax"}


def test_the_command_line_is_parsed_before_jax_is_loaded():
    assert not loaded_by("lens_jax.main") & {*HEAVY, "jax"}
