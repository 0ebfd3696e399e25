"""A time-of-use tariff: which band and price holds at which moment. Pure.

Prices follow the wall clock of the site, never the viewer's: the hour that a clock change repeats is priced by
what the clock shows, both times, and the hour that it skips costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTES_PER_DAY = 24 * 60
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Band:
    """One price level: 'peak', 'flat', 'valley', ..."""

    name: str
    price_per_kwh: float


@dataclass(frozen=True, slots=True)
class Span:
    """One band from from_ms (included) to to_ms (excluded); band None where the tariff does not hold."""

    from_ms: int
    to_ms: int
    band: Band | None


DayPlan = tuple[Band, ...]
"""The band of every minute of a local day, MINUTES_PER_DAY long."""


@dataclass(frozen=True)
class Tariff:
    """Band and price over time.

    plans: (month 1-12, day type) -> the bands of such a day. weekdays: Monday to Sunday -> day type.
    special_days: dates that are another day type than their weekday (holidays, exchanged working days).
    valid_from and valid_to: first and last local day; None is open.
    """

    name: str
    source: str
    time_zone: ZoneInfo
    currency: str
    bands: Mapping[str, Band]
    plans: Mapping[tuple[int, str], DayPlan]
    weekdays: tuple[str, ...]
    special_days: Mapping[date, str]
    valid_from: date | None = None
    valid_to: date | None = None
    example: bool = False

    def price_at(self, ts_ms: int) -> Band | None:
        """The band at a moment (UTC epoch milliseconds); None outside the tariff's validity."""
        local = datetime.fromtimestamp(ts_ms // 1000, self.time_zone)
        day = local.date()
        if (self.valid_from is not None and day < self.valid_from) or (
            self.valid_to is not None and day > self.valid_to
        ):
            return None
        day_type = self.special_days.get(day, self.weekdays[day.weekday()])
        return self.plans[day.month, day_type][local.hour * 60 + local.minute]

    def day_from_ms(self, ts_ms: int) -> int:
        """When the site's day of a moment began."""
        return self._midnight_ms(datetime.fromtimestamp(ts_ms // 1000, self.time_zone).date())

    def day_to_ms(self, ts_ms: int) -> int:
        """When the site's day of a moment ends (23, 24 or 25 hours after it began)."""
        return self._midnight_ms(datetime.fromtimestamp(ts_ms // 1000, self.time_zone).date() + timedelta(days=1))

    def _midnight_ms(self, day: date) -> int:
        local = datetime(day.year, day.month, day.day, tzinfo=self.time_zone)
        return int(local.astimezone(UTC).timestamp()) * 1000

    def spans(self, from_ms: int, to_ms: int) -> Iterator[Span]:
        """The bands between two moments, in order, without gap or overlap.

        Asked minute by minute: edges stand on whole minutes, and so do the clock changes of every zone since 1972.
        """
        start, at = from_ms, from_ms
        band = self.price_at(from_ms)
        while at < to_ms:
            at = min(to_ms, at - at % MINUTE_MS + MINUTE_MS)
            following = self.price_at(at)
            if following != band or at == to_ms:
                yield Span(start, at, band)
                start, band = at, following
