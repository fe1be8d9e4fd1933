<% note = config.attributes.get("notes", {}).get(up_revision) %>\
"""${message.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')}
% if note and note.why:

${note.docstring()}
% endif

Revision ID: ${up_revision}
Revises: ${(down_revision or "nothing") | comma,n}
Create Date: ${create_date}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}

% if note and note.is_contract:
phase = "contract"  # removes what an older version may still use
% endif


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
