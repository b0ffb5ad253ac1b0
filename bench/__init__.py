"""Benchmarks beside comparable products on Node. Never part of the tests."""
