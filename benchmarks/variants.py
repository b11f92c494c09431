"""The training steps that are compared: what each of them changes in a config."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

BASELINE = {"lens.kind": "none"}
LENS = {"lens.kind": "network", "lens.lensed_fraction": 1.0, "lens.raw_fraction": 1.0}
CHEAP_LENS = {"lens.kind": "network", "lens.lensed_fraction": 0.5, "lens.raw_fraction": 0.5}


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A copy of the config with some keys changed, such as {"lens.widths": (8, 8)}.

    Raises `KeyError` for an unknown key and `TypeError` for a value of another type.
    """
    copy = config.copy_and_resolve_references()
    copy.update_from_flattened_dict(changes)
    return copy
