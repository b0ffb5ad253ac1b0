"""The only code that reads openapi.yaml and asyncapi.yaml: it binds them to functions and holds both sides to them."""
