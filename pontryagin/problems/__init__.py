"""Classic problems with their statements and optimal values: `names()` lists them, `get(name)` hands one out.

One problem a file. A file is read when its problem is asked for, so that the list costs nothing.
"""

from pontryagin.problems._registry import Entry, Reference, get, names

__all__ = ["Entry", "Reference", "get", "names"]
