"""one form of each address

Revision ID: 9a3f60d2c7e1
Revises: 3f0c5d1b7a94
"""

import itertools

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

from models.email_addresses import to_canonical, to_deliverable

revision = "9a3f60d2c7e1"
down_revision = "3f0c5d1b7a94"
branch_labels = None
depends_on = None

_BATCH = 1000
_USERS = sa.text("SELECT id, email, created_at, deleted_at IS NOT NULL AS deleted FROM users ORDER BY created_at, id")

_COLLISION = "some accounts have one e-mail address in several spellings; nothing was changed and nothing is merged:"
_WHAT_TO_DO = (
    "Ask the owners which account they keep. Have the others deleted by them (DELETE /users/me), or give them another"
    " address (UPDATE users SET email = '...', is_verified = false WHERE id = '...'), and run this migration again."
    " Until then the previous release serves all of them."
)


def upgrade() -> None:
    connection = op.get_bind()
    rows = connection.execute(_USERS).all()
    forms = {row.id: to_canonical(row.email) for row in rows}
    _refuse_collisions(rows, forms)
    op.add_column("users", sa.Column("email_canonical", sa.Text(), nullable=True))
    fill = sa.text("UPDATE users SET email_canonical = :form WHERE id = :id")
    values = [{"id": id_, "form": form} for id_, form in forms.items()]
    for start in range(0, len(values), _BATCH):
        connection.execute(fill, values[start : start + _BATCH])
    op.alter_column("users", "email_canonical", nullable=False)
    op.drop_index("users_email_key", table_name="users")
    op.drop_index("users_email_prefix_idx", table_name="users")
    op.create_index("users_email_key", "users", ["email_canonical"], unique=True)
    op.create_index("users_email_prefix_idx", "users", [sa.literal_column("email_canonical text_pattern_ops")])
    for row in rows:
        if not row.deleted and to_deliverable(row.email) is None:
            print(f"address_not_deliverable user_id={row.id} email={ascii(row.email)}: it can log in and gets no mail")


def _refuse_collisions(rows, forms) -> None:
    """Stop before anything is changed where two accounts have one address: no one but their owners can choose."""
    by_form = sorted(rows, key=lambda row: (forms[row.id], row.created_at, row.id))
    found = []
    for form, group in itertools.groupby(by_form, key=lambda row: forms[row.id]):
        accounts = list(group)
        if len(accounts) > 1:
            found.append(f"  {ascii(form)}")
            found += [f"    {row.id} {ascii(row.email)} created {row.created_at.isoformat()}" for row in accounts]
    if found:
        raise CommandError("\n".join([_COLLISION, *found, _WHAT_TO_DO]))


def downgrade() -> None:
    op.drop_index("users_email_prefix_idx", table_name="users")
    op.drop_index("users_email_key", table_name="users")
    op.create_index("users_email_key", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_index("users_email_prefix_idx", "users", [sa.literal_column("lower(email) text_pattern_ops")])
    op.drop_column("users", "email_canonical")
