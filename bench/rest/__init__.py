"""REST beside Fastify: `python -m bench.rest.run`."""
