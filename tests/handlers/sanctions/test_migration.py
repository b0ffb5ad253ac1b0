"""The migration that adds sanctions, on a database with bans."""

from __future__ import annotations

import psycopg
from alembic import command

from cli.migrations import _config
from settings import Settings
from testing.databases import own_database

_BEFORE = "7d1f0c3a9e52"
_ADD_USER = """
    INSERT INTO users (id, email, email_canonical, password_hash, is_banned, banned_at, ban_reason, deleted_at)
    SELECT gen_random_uuid(), name, name, '', banned, CASE WHEN banned THEN '2024-02-03'::timestamptz END,
        CASE WHEN banned THEN 'Bob saw it.' END, CASE WHEN deleted THEN now() END
    FROM (SELECT %s::text AS name, %s::bool AS banned, %s::bool AS deleted) AS given
"""
_READ = """
    SELECT email, kind::text, ground::text, facts, shows_facts, starts_at = '2024-02-03'::timestamptz,
        appeal_until > now() + interval '179 days', issued_by, lifted_at
    FROM sanctions JOIN users ON users.id = user_id ORDER BY email
"""


def test_migration_makes_sanctions_of_bans(settings: Settings) -> None:
    with own_database(settings) as own:
        command.downgrade(_config(own), _BEFORE)
        with psycopg.connect(own.database_url, autocommit=True) as connection:
            for email, banned, deleted in (("free", False, False), ("banned", True, False), ("gone", True, True)):
                connection.execute(_ADD_USER, (email, banned, deleted))
        command.upgrade(_config(own), "head")
        with psycopg.connect(own.database_url, autocommit=True) as connection:
            assert connection.execute(_READ).fetchall() == [
                ("banned", "ban", "other", "Bob saw it.", False, True, True, None, None),
                ("gone", "ban", "other", None, False, True, True, None, None),
            ]
        command.downgrade(_config(own), _BEFORE)
        with psycopg.connect(own.database_url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM users WHERE is_banned").fetchall() == [(2,)]
        command.upgrade(_config(own), "head")
