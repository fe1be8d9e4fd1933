"""The rules that a project may give another severity."""

import slipway.guard.rules  # noqa: F401  registers them
from slipway.guard import rule as guard
from slipway.overlap.rules import OVERLAP_RULES
from slipway.rehearse import rules as rehearse

NAMES = frozenset(guard.RULES) | frozenset(rehearse.RULES) | frozenset(OVERLAP_RULES)
