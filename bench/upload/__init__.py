"""Memory of the server during uploads of large videos."""
