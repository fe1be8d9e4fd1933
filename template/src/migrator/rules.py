"""The rules that a project may give another severity."""

import migrator.guard.rules  # noqa: F401  registers them
from migrator.guard import rule as guard
from migrator.overlap.rules import OVERLAP_RULES
from migrator.rehearse import rules as rehearse

NAMES = frozenset(guard.RULES) | frozenset(rehearse.RULES) | frozenset(OVERLAP_RULES)
