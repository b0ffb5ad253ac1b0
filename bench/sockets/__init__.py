"""Sockets beside socket.io: `python -m bench.sockets.run`."""
