"""Until when a forecast counts as written down before the fact."""

from datetime import datetime, timedelta

SHORT_GAP = timedelta(hours=1)
_LONGEST_GRACE = timedelta(minutes=30)


def deadline(
    close: datetime,
    next_open: datetime,
    next_close: datetime,
    *,
    gap: timedelta | None = None,
) -> datetime:
    """The first instant, in market time, at which a forecast is refused.

    That is the opening of the first session after the as-of session, whatever the horizon. Where
    less than an hour lies between close and open nobody could be in time: inputs are frozen at the
    close, and there are 30 minutes after the opening, or a tenth of the session if that is less.

    Args:
        close: the close of the as-of session.
        next_open: the opening of the first session after it.
        next_close: the close of that session.
        gap: how long the night lasts for whoever computes, where the market's clock does not run
            as fast as the wall's; next_open − close where not given.

    Raises ValueError where the instants do not rise.
    """
    if not close <= next_open < next_close:
        raise ValueError("a close, the next opening and the next close must follow each other")
    gap = next_open - close if gap is None else gap
    if gap >= SHORT_GAP:
        return next_open
    return next_open + min(_LONGEST_GRACE, (next_close - next_open) / 10)
