"""Rules of the product by feature, called by every entry point: REST handlers, Socket.IO events, the CLI and jobs.

The `__init__.py` of each feature names the parts of the system that the feature serves: tags of openapi.yaml, events of
asyncapi.yaml, models and jobs. Each belongs to one feature (tests/contract/test_features.py).
"""
