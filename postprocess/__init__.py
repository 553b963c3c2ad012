"""Vector chains: from candidates and probability rasters to features. No torch here.

A step is a module (or any object) with

    class Params(lanner.core.config.Strict): ...
    def run(objects: GeoDataFrame, context: Context, params: Params) -> GeoDataFrame: ...

It is pure: it changes a copy, keeps every column and gives back the objects in any order. Shapes
are in grid pixels. It may set `note` (text, what it did to each object), `rejected` (text, why an
object goes; None where it stays) and, for work on rasters, `attrs["note"]` of the frame. The runner
moves these into `steps` and `rejected.parquet`. Built-in steps are in `registry.BUILTIN`; others
come in through the entry-point group `lanner.steps` of any installed package.
"""

import os

# Arrow's own allocator, mimalloc, keeps what the largest tables needed: some 80 MB after a chain.
# Read when pyarrow (or pandas) is first imported; who sets it outside keeps his own.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
