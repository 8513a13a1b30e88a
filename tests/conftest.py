"""What every kind of test shares. The servers that the suite runs against come from the plugin tests.servers."""

from tests.venue import venue

__all__ = ["venue"]
