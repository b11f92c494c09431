"""Two audits beside each other: what became of the findings of the first one."""

import json
import pathlib
from typing import NamedTuple

from lens_jax.audit.findings import Finding
from lens_jax.errors import UserError

FINDINGS_FILE = "findings.json"
# Scores that differ by less are the same: other shuffles, other copies.
_SAME = 2.0


class Change(NamedTuple):
    """What became of a finding: its score before and now, 0 where there is none."""

    title: str
    label: str
    before: float
    now: float

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if not self.now:
            return "gone"
        if not self.before:
            return "new"
        if abs(self.now - self.before) < _SAME:
            return "as before"
        return "less" if self.now < self.before else "more"


def read_findings(output: str) -> list[Finding]:
    """The findings of the audit in a folder; raises `UserError` where there is none."""
    path = pathlib.Path(output).expanduser() / FINDINGS_FILE
    try:
        content = json.loads(path.read_text())
        rows = content["findings"]
        return [Finding(*[row[name] for name in Finding._fields]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"no audit at --compare={output!r}: give the --output of an audit that was finished"
        ) from error


def compare(before: list[Finding], now: list[Finding]) -> list[Change]:
    """Each finding of either audit, the highest score first."""
    scores = {(each.title, each.label): (each.score, 0.0) for each in before}
    for each in now:
        key = (each.title, each.label)
        earlier, _ = scores.get(key, (0.0, 0.0))
        scores[key] = (earlier, each.score)
    changes = [Change(*key, *values) for key, values in scores.items()]
    return sorted(changes, key=lambda change: -max(change.before, change.now))
