"""The bus beside Node: `python -m bench.bus.run`."""
