"""Vector chains: from candidates and probability rasters to features. No torch here.

A step is a module (or any object) with

    class Params(lanner.config.Strict): ...
    def run(objects: GeoDataFrame, context: Context, params: Params) -> GeoDataFrame: ...

It is pure: it changes a copy, keeps every column and gives back the objects in any order. Shapes
are in grid pixels. It may set `did` (text, what it did to each object), `rejected` (text, why an
object goes; None where it stays) and, for work on rasters, `attrs["did"]` of the frame. The runner
moves these into `steps` and `rejected.parquet`. Built-in steps are in `registry.BUILTIN`; others
come in through the entry-point group `lanner.steps` of any installed package.
"""
