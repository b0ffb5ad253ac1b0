"""The ways in which money comes and goes: one module for each provider."""
