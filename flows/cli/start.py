"""What makes the start of a command short, before it imports what it needs."""

import gc
import os

__all__ = ["shorten_start"]


def shorten_start() -> None:
    """Has garbage searched for seldom, and pydantic look for no plugins.

    What imports and plans make stays, some 100,000 objects: searching it is a tenth of a start and a third
    of a large plan. Looking for plugins reads the metadata of every installed package; nothing here has any.
    """
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
