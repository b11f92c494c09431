import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data.decode import central_crop_resize, decode, resize
from lens_jax.errors import UserError
from lens_jax.eval.features import (
    REPRESENTATIONS,
    adaptive_max_pool,
    extract,
    make_features,
)
from lens_jax.eval.frozen import Frozen
from lens_jax.lens.lens import KINDS

TAPS = ("block1", "block2", "pre_logits")


def lens_of(frozen: Frozen, images: jax.Array) -> jax.Array:
    return jax.jit(frozen.system.lens_network.apply)({"params": frozen.state.lens_params}, images)


def taps_of(
    frozen: Frozen, kinds: dict[str, jax.Array], stats: dict
) -> dict[str, dict[str, np.ndarray]]:
    """The taps of each kind of input, by the statistics of that name."""
    network, params = frozen.system.network, frozen.state.params

    @jax.jit
    def read(x: jax.Array, stats: dict) -> dict[str, jax.Array]:
        variables = {"params": params, "batch_stats": stats}
        return network.apply(variables, x, train=False, method="taps")

    return {kind: jax.device_get(read(x, stats[kind])) for kind, x in kinds.items()}


def nine(image: np.ndarray) -> list[np.ndarray]:
    """The patches of 4 px of the central square of 12 px of 16."""
    corners = [(y, x) for y in (2, 6, 10) for x in (2, 6, 10)]
    return [image[y : y + 4, x : x + 4] for y, x in corners]


def random_pixels(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 16, 16, 3), np.uint8)


def random_tap(shape: tuple[int, ...]) -> np.ndarray:
    """A tap of two images."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "side"), [((40, 40, 30), 3), ((31, 29, 11), 2), ((19, 19, 25), 2), ((100, 95, 1), 2)]
)
def test_a_large_tap_is_pooled_by_its_largest_values(shape: tuple[int, int, int], side: int):
    height, width, channels = shape
    x = random_tap(shape)
    rows, columns = height // side, width // side
    expected = np.zeros((2, rows, columns, channels), np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = side * row, side * column
            window = x[:, top : top + side, left : left + side]
            expected[:, row, column] = window.max(axis=(1, 2))
    pooled = adaptive_max_pool(jnp.asarray(x))
    assert pooled.shape[1] <= 9000
    np.testing.assert_array_equal(pooled, expected.reshape(2, -1))


def test_the_taps_of_resnet50_get_the_sizes_worked_out_by_hand():
    shapes = [(56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048), (2048,)]
    taps = [jax.ShapeDtypeStruct((3, *shape), jnp.bfloat16) for shape in shapes]
    pooled = [jax.eval_shape(adaptive_max_pool, tap) for tap in taps]
    assert [p.shape[1] for p in pooled] == [
        5 * 5 * 256,
        4 * 4 * 512,
        2 * 2 * 1024,
        1 * 1 * 2048,
        2048,
    ]
    assert {p.dtype for p in pooled} == {jnp.dtype("float32")}


@pytest.mark.parametrize("shape", [(30, 30, 10), (4, 4, 3), (12, 750, 1), (10_000,)])
def test_a_small_or_pooled_tap_is_only_flattened(shape: tuple[int, ...]):
    x = random_tap(shape)
    pooled = adaptive_max_pool(jnp.asarray(x))
    np.testing.assert_array_equal(pooled, x.reshape(2, -1))


def test_raw_features_are_the_taps_and_lensed_ones_those_of_the_lensed_image(make_frozen):
    frozen, pixels = make_frozen(), random_pixels(3)
    images = jnp.asarray(pixels, jnp.float32) / 127.5 - 1
    inputs = {"raw": images, "lensed": lens_of(frozen, images)}
    stats = dict.fromkeys(inputs, frozen.state.batch_stats)
    raw, lensed = taps_of(frozen, inputs, stats).values()
    found = {}
    for kind in REPRESENTATIONS:
        features = jax.jit(make_features(frozen, kind, TAPS))
        found[kind] = features(frozen.state, pixels)
    assert frozen.system.network.extractor.tap_names == TAPS
    assert raw.keys() == set(TAPS)
    for tap in TAPS:
        raw_rows = np.asarray(raw[tap]).reshape(3, -1)
        lensed_rows = np.asarray(lensed[tap]).reshape(3, -1)
        assert abs(raw_rows - lensed_rows).max() > 0.1
        expected = {
            "raw": raw_rows,
            "lensed": lensed_rows,
            "mean": (raw_rows + lensed_rows) / 2,
            "concat": np.concatenate([raw_rows, lensed_rows], axis=1),
        }
        for kind, values in expected.items():
            np.testing.assert_allclose(found[kind][tap], values, rtol=1e-4, atol=1e-4, err_msg=kind)


def test_features_come_from_the_running_statistics_and_not_from_the_batch(make_frozen):
    frozen, pixels = make_frozen({"lens.kind": "none"}), random_pixels(4)
    read = jax.jit(make_features(frozen, "raw", ("pre_logits",)))
    together = read(frozen.state, pixels)["pre_logits"]
    alone = read(frozen.state, pixels[2:3])["pre_logits"]
    np.testing.assert_allclose(alone[0], together[2], rtol=1e-4, atol=1e-5)
    stats = jax.tree.map(lambda x: x + 1, frozen.state.batch_stats)
    moved = frozen._replace(state=frozen.state.replace(batch_stats=stats))
    other = read(moved.state, pixels)["pre_logits"]
    assert abs(other - together).max() > 0.1


@pytest.mark.parametrize("kind", [kind for kind in REPRESENTATIONS if kind != "raw"])
@pytest.mark.parametrize("lens", [kind for kind in KINDS if kind != "network"])
def test_without_a_lens_all_but_raw_features_are_refused(make_frozen, kind: str, lens: str):
    with pytest.raises(UserError, match=rf"'{kind}' needs a lens.*choose raw"):
        make_features(make_frozen({"lens.kind": lens}), kind, TAPS)


def test_each_kind_of_input_is_normalized_by_its_own_statistics(make_frozen):
    frozen, pixels = make_frozen({"lens.batch_norm": "split"}), random_pixels(3)
    images = jnp.asarray(pixels, jnp.float32) / 127.5 - 1
    inputs = {"raw": images, "lensed": lens_of(frozen, images)}
    stats = frozen.state.batch_stats
    own = taps_of(frozen, inputs, stats)
    wrong = taps_of(frozen, inputs, {"raw": stats["lensed"], "lensed": stats["raw"]})
    for kind in inputs:
        features = jax.jit(make_features(frozen, kind, ("pre_logits",)))
        found = features(frozen.state, pixels)["pre_logits"]
        np.testing.assert_allclose(found, own[kind]["pre_logits"], rtol=1e-4, atol=1e-4)
        assert abs(found - wrong[kind]["pre_logits"]).max() > 0.1


@pytest.mark.parametrize("acts_on", ["views", "images"])
def test_the_features_of_a_patch_task_are_the_mean_over_nine_crops(make_jigsaw, acts_on: str):
    frozen, pixels = make_jigsaw({"lens.acts_on": acts_on}), random_pixels(2)
    images = pixels.astype(np.float32) / np.float32(127.5) - 1
    raw = np.stack([patch for image in images for patch in nine(image)])
    lensed = np.asarray(lens_of(frozen, raw if acts_on == "views" else images))
    if acts_on == "images":
        lensed = np.stack([patch for image in lensed for patch in nine(image)])
    stats = dict.fromkeys(("raw", "lensed"), frozen.state.batch_stats)
    taps = taps_of(frozen, {"raw": raw, "lensed": lensed}, stats)
    found = jax.jit(make_features(frozen, "concat", TAPS))(frozen.state, pixels)
    for i in range(2):
        for tap in TAPS:
            means = []
            for kind in ("raw", "lensed"):
                crops = taps[kind][tap][9 * i : 9 * i + 9]
                means.append(sum(crop.ravel() for crop in crops) / 9)
            assert abs(means[0] - means[1]).max() > 0.1
            expected = np.concatenate(means)
            np.testing.assert_allclose(found[tap][i], expected, rtol=1e-3, atol=1e-3)


def pixel_features(_: object, images: jax.Array) -> dict[str, jax.Array]:
    return {"pixels": images.reshape(len(images), -1)}


@pytest.mark.parametrize(
    ("overrides", "read"),
    [
        ({}, lambda data: resize(data, 16)),
        ({"data.linear_size": 12}, lambda data: resize(data, 12)),
        (
            {"data.linear_size": 12, "data.eval_crop": "central"},
            lambda data: central_crop_resize(data, 12),
        ),
        (
            {"data.linear_size": 12, "data.linear_crop": "central"},
            lambda data: central_crop_resize(data, 12),
        ),
        ({"data.eval_crop": "central", "data.linear_crop": "none"}, lambda data: resize(data, 16)),
    ],
)
def test_the_linear_pass_reads_its_own_size_and_crop(make_frozen, colorful, overrides: dict, read):
    source = colorful(3, side=21)
    rows = extract(make_frozen(overrides), source, pixel_features).taps
    expected = np.stack([read(source[i]["image"]).ravel() for i in range(3)])
    np.testing.assert_array_equal(rows["pixels"], expected)


@pytest.mark.parametrize(("size", "broken"), [(7, ()), (259, ()), (9, (0, 4))])
def test_extraction_returns_every_image_once_in_order_but_those_that_do_not_decode(
    make_frozen, colorful, size: int, broken: tuple[int, ...]
):
    source = colorful(size, broken=broken)
    rows, labels, colors, positions = extract(make_frozen(), source, pixel_features)
    kept = [i for i in range(size) if i not in broken]
    assert positions.tolist() == kept
    assert labels.tolist() == [i % 3 for i in kept]
    expected = np.stack([decode(source[i]["image"]).reshape(-1) for i in kept])
    np.testing.assert_array_equal(rows["pixels"], expected)
    in_range = expected.reshape(len(kept), -1, 3) / 127.5 - 1
    np.testing.assert_allclose(colors, in_range.mean(axis=1), rtol=0, atol=1e-5)


def test_extraction_stops_where_too_many_images_do_not_decode(make_frozen, colorful):
    frozen = make_frozen({"data.max_skipped": 0.1})
    with pytest.raises(UserError, match="2 of 9 images did not decode"):
        extract(frozen, colorful(9, broken=(0, 4)), pixel_features)
