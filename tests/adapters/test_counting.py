"""Counters of requests, events and messages."""

from __future__ import annotations

from adapters.counting import Histogram


def test_bound_belongs_to_what_is_below_it() -> None:
    counted = Histogram((1, 5))
    for value in (0.5, 1, 1.5, 5, 6, 7):
        counted.add(value)
    assert counted.counts == [2, 2, 2] and counted.sum == 21
