"""Stores, vendors and other processes, behind the protocols of ports.py."""
