"""Where scenes come from: folders, lists, catalogues, buckets and listings of servers.

Use: `from lanner.archives.sources import find_scenes`.
"""

from lanner.archives.sources.find import find_scenes
from lanner.archives.sources.unwanted import check_filter, unwanted

__all__ = ["check_filter", "find_scenes", "unwanted"]
