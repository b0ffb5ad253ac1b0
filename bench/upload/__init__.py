"""Uploads of large videos: how much memory the server takes."""
