"""Webhooks of payments: how soon a provider is thanked, beside the same on Node."""
