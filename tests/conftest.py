"""What holds for all tests.

1. A shared machine stalls now and then, which is no reason to fail: hypothesis sets no deadline.
2. The longest tests begin first, so that no worker is left alone with them at the end.
"""

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("packaging") is None)
