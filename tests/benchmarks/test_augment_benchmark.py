import json
import sys

import numpy as np
import pytest

from configs import rotation, simclr
from lens_jax.errors import UserError
from tests.end_to_end.commands import run

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
from benchmarks.augment import measure, peer  # noqa: E402 - they need PyTorch


def pictures(count: int, side: int = 32) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), np.uint8)
    return torch.from_numpy(pixels).repeat(count, 1, 1, 1)


def test_a_batch_shares_its_draws_and_single_images_do_not():
    """Of one picture many times, views of one draw are all alike."""
    transforms = peer.make_transforms(simclr.get_config("photo_crops").augment, 32)
    together = next(peer.run(transforms, pictures(8), each=False))
    apart = next(peer.run(transforms, pictures(8), each=True))
    assert together.shape == apart.shape == (8, 3, 32, 32)
    assert together.dtype == apart.dtype == torch.float32
    assert float(together.std(0).max()) < 1e-6
    assert float(apart.std(0).max()) > 0.1
    assert 0 <= float(apart.min()) < float(apart.max()) <= 1


def test_ours_draws_for_each_image_and_anew_at_each_step():
    config = simclr.get_config("photo_crops")
    augmentation = measure.make_augmentations(config.augment)[0]
    pixels = pictures(8).permute(0, 2, 3, 1).numpy()
    runs = measure.run_ours(augmentation, pixels, 24)
    first, second = next(runs), next(runs)
    assert first.shape == (8, 24, 24, 3)
    assert float(first.std(0).max()) > 0.1
    assert float(abs(first - second).max()) > 0.1


def test_a_setting_that_torchvision_lacks_is_refused():
    with pytest.raises(UserError, match="jitter_kind is 'slim': torchvision has 'torchvision'"):
        peer.make_transforms(rotation.get_config("imagenet2012").augment, 32)


def test_the_command_compares_the_three_ways(tmp_path):
    path = tmp_path / "augment.json"
    flags = ["--rounds=2", "--config.data.batch_size=4", f"--json={path}"]
    # PyTorch's threads do not outlive a fork.
    ended = run(sys.executable, "-m", "benchmarks.augment", *flags, fresh=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(path.read_text())
    assert found["ours_by"].keys() == {measure.OURS, measure.ONE_DRAW, measure.EACH_IMAGE}
    assert found["ours_by"][measure.OURS] == 1
    for name in found["ours_by"]:
        assert name in ended.stdout
