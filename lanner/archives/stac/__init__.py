"""The archive's results as a static STAC catalogue: an item a scene, and one a detector."""

from lanner.archives.stac.write import write_stac

__all__ = ["write_stac"]
