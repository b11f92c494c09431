import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

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


PACKAGE = pathlib.Path(__file__).parents[1] / "lens_jax"
EXECUTES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "runpy",
    "code",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "np.load",
    "torch.load",
}


def executing(tree: ast.AST) -> Iterator[str]:
    """Imports and calls by which content could become code, and commands given to a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from EXECUTES & {name.partition(".")[0] for name in names}
        if isinstance(node, ast.Call):
            yield from CALLS & {ast.unparse(node.func)}
            yield from (word.arg for word in node.keywords if word.arg in ("shell", "allow_pickle"))


def test_nothing_that_is_read_is_ever_executed():
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 50
    assert {
        str(path): found for path in paths if (found := [*executing(ast.parse(path.read_text()))])
    } == {}


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "eval('1')", "np.load(f)", "run(x, shell=True)"],
)
def test_what_executes_would_be_found(line: str):
    assert list(executing(ast.parse(line)))


def test_every_folder_of_tests_is_a_package():
    # Else two files of one name in two folders cannot be told apart.
    folders = {path.parent for path in pathlib.Path(__file__).parent.rglob("test_*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
