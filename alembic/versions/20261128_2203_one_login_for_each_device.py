"""one login for each device

Revision ID: 5d1c0a7e9b34
Revises: 7c41d2e90ab6
"""

import sqlalchemy as sa
from alembic import op

revision = "5d1c0a7e9b34"
down_revision = "7c41d2e90ab6"
branch_labels = None
depends_on = None

# Of several logins of one device the newest stays; the others end as they do at a logout, and push tokens
# that they registered become the newest's.
_END_EARLIER = """
WITH live AS (
    SELECT family_id, user_id, device_id,
           first_value(family_id) OVER (PARTITION BY user_id, device_id ORDER BY began DESC, family_id) AS newest
    FROM (
        SELECT family_id, user_id, device_id, min(created_at) AS began
        FROM refresh_tokens GROUP BY family_id, user_id, device_id
        HAVING bool_or(rotated_at IS NULL AND NOT revoked)
    ) AS families
), ended AS (
    UPDATE refresh_tokens SET revoked = true, revoked_at = now()
    FROM live WHERE refresh_tokens.family_id = live.family_id AND live.family_id <> live.newest AND NOT revoked
)
UPDATE device_tokens SET family_id = live.newest
FROM live WHERE device_tokens.family_id = live.family_id AND live.family_id <> live.newest
"""


def upgrade() -> None:
    op.execute(_END_EARLIER)
    op.create_index(
        "refresh_tokens_device_key",
        "refresh_tokens",
        ["user_id", "device_id"],
        unique=True,
        postgresql_where=sa.text("rotated_at IS NULL AND NOT revoked"),
    )


def downgrade() -> None:
    op.drop_index("refresh_tokens_device_key", table_name="refresh_tokens")
