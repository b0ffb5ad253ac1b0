"""Delivery of pushes: Firebase Cloud Messaging, or log lines for development."""
