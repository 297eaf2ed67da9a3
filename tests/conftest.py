"""The longest tests begin first, so that no worker is left alone with them at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("packaging") is None)
