"""Socket.IO entry points: one function per event of asyncapi.yaml."""
