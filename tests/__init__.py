"""Tests of the product; the asserts of the modules that they share say what they compared, as those of tests do."""

import pytest

pytest.register_assert_rewrite("testing", "tests.contract.event_payloads", "tests.services.matchmaking_model")
