"""The socket door: one function per event of asyncapi.yaml."""
