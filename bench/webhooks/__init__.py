"""Latency of webhook acknowledgements, beside Node."""
