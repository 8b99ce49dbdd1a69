"""Durations are written as one would say them."""


def in_words(seconds: float | None) -> str:
    """Return `1 h 05 min`, `3 min`, `40 s`."""
    if seconds is None:
        return "not known before a run is done"
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
