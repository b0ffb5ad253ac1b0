"""Invitations that cross, on two web processes."""
