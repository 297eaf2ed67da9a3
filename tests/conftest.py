"""What holds for all tests.

1. A shared machine stalls now and then, which is no reason to fail: hypothesis sets no deadline.
2. The longest tests begin first, so that no worker is left alone with them at the end.
3. What is tested is a CPU, also where there is a GPU; tests that need one name it.
4. Test processes that run side by side, and what they start, share the processors instead of each taking all.
5. transformers logs many of its deprecations instead of warning. They become warnings, which are errors here.
"""

import logging
import os
import warnings

from hypothesis import settings

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    # Before torch is loaded, which reads it once.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

# For what tests start, too.
os.environ.setdefault("INTERACT_DEVICE", "cpu")

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("packaging") is None)


class _Deprecations(logging.Handler):
    def emit(self, record):
        if "deprecat" in record.getMessage().lower():
            warnings.warn(record.getMessage(), FutureWarning, stacklevel=2)


logging.getLogger("transformers").addHandler(_Deprecations(logging.WARNING))
