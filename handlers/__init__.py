"""The HTTP door: one module per tag of openapi.yaml, one function per operation."""
