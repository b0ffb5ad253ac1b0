"""Webhooks of payments: how soon they are acknowledged, beside the same on Node."""
