"""The only code that reads openapi.yaml and asyncapi.yaml: it binds them to functions and validates both directions."""
