import pytest

from .commands import command, succeed


@pytest.mark.parametrize("module", ["main", "linear_eval", "report", "sweep", "prepare", "audit"])
def test_an_entry_point_answers_help(module):
    text = succeed(*command(module, "--help"), fresh=True)
    assert f"python -m lens_jax.{module}" in text
    assert "--" in text
