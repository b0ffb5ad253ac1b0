"""Finds of a deployment that closes the pool of strangers."""
