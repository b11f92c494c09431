import signal
import subprocess

import jax
import numpy as np

from lens_jax.eval.frozen import load

from .commands import REPOSITORY, succeed, train

OPTIONS = ("--config.train.duration=12 steps", "--config.train.checkpoint_every=3 steps")


def kill_after_a_checkpoint(words: list[str]) -> None:
    """Runs the command to step 8, then kills it; the save at step 6 waited for the one at 3 to end."""
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step 8/"):
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_goes_on_and_ends_bit_equal_to_an_unbroken_one(tmp_path, data):
    succeed(*train(tmp_path / "unbroken", data, *OPTIONS))
    kill_after_a_checkpoint(train(tmp_path / "killed", data, *OPTIONS))
    assert "going on from checkpoint" in succeed(*train(tmp_path / "killed", data, *OPTIONS))

    unbroken, killed = load(str(tmp_path / "unbroken")), load(str(tmp_path / "killed"))
    assert unbroken.step == killed.step == 12
    assert unbroken.run["position"] == killed.run["position"]
    for path, value in jax.tree_util.tree_leaves_with_path(unbroken.state):
        other = dict(jax.tree_util.tree_leaves_with_path(killed.state))[path]
        np.testing.assert_array_equal(value, other, err_msg=jax.tree_util.keystr(path))
