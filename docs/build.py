"""Build the API pages into build/docs."""

from pathlib import Path

import pdoc

import interact

for name in interact.__all__:
    # The package loads its rooms on demand, and pdoc looks only at what is loaded.
    setattr(interact, name, getattr(interact, name))
pdoc.pdoc("interact", "interact_kernels", output_directory=Path("build/docs"))
