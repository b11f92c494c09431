"""CKA against its definition with kernels [n, n], and between networks that are known to differ."""

import contextlib

import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.eval import cka
from lens_jax.eval.cka import cka_matrix, hsic
from lens_jax.eval.suites.cka import CKA
from lens_jax.workdir import checkpoints

RNG = np.random.default_rng(0)


def draw(count: int, size: int) -> np.ndarray:
    return RNG.normal(size=(count, size)).astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    return cka_matrix({"a": first}, {"b": second})["a", "b"]


def unbiased_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    """n (n - 3) times equation 5 of Song et al., with sums over all pairs and their partners."""
    n = len(first)
    k = [[0.0 if i == j else float(first[i] @ first[j]) for j in range(n)] for i in range(n)]
    m = [[0.0 if i == j else float(second[i] @ second[j]) for j in range(n)] for i in range(n)]
    trace = sum(k[i][j] * m[i][j] for i in range(n) for j in range(n))
    sums = sum(map(sum, k)) * sum(map(sum, m))
    chain = sum(k[i][j] * m[j][h] for i in range(n) for j in range(n) for h in range(n))
    return trace + sums / ((n - 1) * (n - 2)) - 2 * chain / (n - 2)


@pytest.mark.parametrize("chunk", [2**24, 12])
def test_the_estimate_in_features_is_that_of_kernels(monkeypatch, chunk: int):
    """Of rows that are not centered; also where a chunk holds two rows."""
    monkeypatch.setattr(cka, "_CHUNK", chunk)
    first = draw(9, 4) + 3
    second = first[:, :2] @ draw(2, 6) + draw(9, 6) - 1
    expected = unbiased_by_loops(first.astype(np.float64), second.astype(np.float64))
    assert hsic(first, second) == pytest.approx(expected, rel=1e-4)


def test_features_are_the_same_up_to_rotation_scale_and_shift():
    features = draw(60, 8)
    rotation, _ = np.linalg.qr(draw(8, 8))
    assert similarity(features, 5 * features @ rotation + 2) == pytest.approx(1, abs=1e-4)
    stretched = features * np.arange(1, 9)
    assert 0.3 < similarity(features, stretched) < 0.95


def test_independent_features_have_nothing_in_common_even_of_few_images():
    """The biased estimate is above 0.8 here: 50 images, 400 features."""
    first, second = draw(50, 400), draw(50, 400)
    assert abs(similarity(first, second)) < 0.1
    x = first - first.mean(axis=0)
    y = second - second.mean(axis=0)
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    assert np.linalg.norm(x.T @ y) ** 2 / norms > 0.8


def test_constant_features_are_similar_to_nothing():
    assert similarity(np.full((9, 3), 2, np.float32), draw(9, 3)) == 0


def test_the_taps_of_a_network_are_compared_with_each_other(make_subject):
    subject = make_subject()
    suite = CKA()
    suite.check(subject)
    numbers = suite.measure(subject)
    taps = subject.taps
    assert len(numbers) == len(taps) ** 2
    assert next(iter(numbers)) == f"cka/{taps[-1]}/{taps[-1]}"
    for tap in taps:
        assert numbers[f"cka/{tap}/{tap}"] == pytest.approx(1, abs=1e-5)
    first_last = numbers[f"cka/{taps[0]}/{taps[-1]}"]
    assert first_last == pytest.approx(numbers[f"cka/{taps[-1]}/{taps[0]}"], abs=1e-5)
    ((picture,),) = suite.tell(numbers)
    assert picture.png.startswith(b"\x89PNG")


def test_another_checkpoint_is_read_from_its_folder(make_subject, make_frozen, tmp_path):
    subject = make_subject()
    folder = str(tmp_path / "other")
    other = make_frozen({"lens.kind": "none"}, step=2, total=2)
    with contextlib.closing(checkpoints.open_checkpoints(folder)) as manager:
        checkpoints.save(manager, 2, other.state, other.run)
    suite = CKA(other=folder)
    suite.check(subject)
    numbers = suite.measure(subject)
    assert numbers["cka/pre_logits/pre_logits"] < 0.999
    assert f"step 2 of {folder}" in suite.protocol(subject)
    # Another checkpoint of that run would be another result.
    assert suite.measured_on(subject)["other"] == {"step": 2}
    assert "other" not in CKA().measured_on(subject)

    with pytest.raises(UserError, match="no checkpoint in"):
        CKA(other=str(tmp_path / "nothing")).check(subject)
