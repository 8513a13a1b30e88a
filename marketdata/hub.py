"""The fan-out hub: one member per process in the venue's Channels group."""


def publish(*, books: list[list], accounts: dict[int, list[dict]]) -> None:
    """Tell every process what was committed; from any thread, returns at once."""
