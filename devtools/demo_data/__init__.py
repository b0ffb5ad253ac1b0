"""Demo data: learners, six weeks of their practice, and their orders, so that no list is empty.

The same seed makes the same people and the same weeks, counted back from now.
"""

from devtools.demo_data.filling import Demo, DemoData

__all__ = ["Demo", "DemoData"]
