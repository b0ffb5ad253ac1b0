"""Faults injected into the running product under load, then a search for lost data. `make faults`."""
