"""Webhooks of payments: latency of acknowledgements, beside the same on Node."""
