"""Where scenes come from: folders, lists, catalogues, buckets and listings of servers.

Use: `from lanner.batch.sources import find_scenes`.
"""

from lanner.batch.sources.find import find_scenes
from lanner.batch.sources.unwanted import check_filter, unwanted

__all__ = ["check_filter", "find_scenes", "unwanted"]
