"""Benchmarks beside the stack that the product might have been built on. Never part of the tests."""
