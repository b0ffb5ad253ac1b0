"""The world outside, behind the ports of ports.py."""
