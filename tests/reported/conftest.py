"""What peft and torch warn of in every test with an adapter or a loader, through no fault of ours."""

import pytest

_THEIRS = (
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    "ignore:.*is_gradient_checkpointing.*:FutureWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if "reported" in str(item.path):
            for one in _THEIRS:
                item.add_marker(pytest.mark.filterwarnings(one))
