"""REST entry points: one module per tag of openapi.yaml, one function per operation."""
