"""GET /api/aggregates: one tag by windows of time, exactly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from cloud.api.paging import Name, wrong_order
from cloud.api.series import Stamp
from cloud.host_view import HostView
from wire.errors import ConfigError
from wire.ids import NodeId

LONGEST_STEP_S = 366 * 86_400
_WINDOW: dict[str, Any] = {
    "start_ms": 1_700_000_400_000, "count": 3600, "num": 3599, "good": 3598, "mean": 41.6, "min": 40.1, "max": 58.0,
    "last": 41.5,
}  # fmt: skip


class Window(BaseModel):
    """What the rows of one window come to; numbers are null where no row has one."""

    start_ms: int = Field(description="UTC epoch ms")
    count: int = Field(description="rows")
    num: int = Field(description="rows with a number, which mean, min, max and last are of")
    good: int = Field(description="rows of quality GOOD")
    mean: float | None
    min: float | None
    max: float | None
    last: float | None = Field(description="the newest number")


class Aggregates(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"step_ms": 3_600_000, "windows": [_WINDOW]}]})

    step_ms: int = Field(description="length of a window")
    windows: list[Window] = Field(description="oldest first")


def router(host: HostView) -> APIRouter:
    api = APIRouter(tags=["series"])

    @api.get("/aggregates", summary="One tag by windows of time: count, mean, min, max, last")
    async def aggregates(
        group: Annotated[Name, Query(description="the site")],
        node: Annotated[Name, Query(description="the gateway")],
        tag: Annotated[Name, Query(description="the tag")],
        from_ms: Stamp,
        to_ms: Stamp,
        device: Annotated[Name, Query(description="empty: a tag of the gateway itself")] = "",
        step_s: Annotated[int, Query(ge=1, le=LONGEST_STEP_S, description="length of a window in seconds")] = 3600,
    ) -> Aggregates:
        """Windows begin at multiples of the step since 1970 (UTC); those without rows are left out. The first and the
        last window hold only what lies between the two times; where rows are removed they are whole. 100,000 windows
        at most."""
        wrong_order(from_ms, to_ms)
        step_ms = step_s * 1000
        try:
            found = await host.store.aggregates(NodeId(group, node), device, tag, from_ms, to_ms, step_ms)
        except ConfigError as fault:  # too many windows
            told = {"loc": ("query", "step_s"), "msg": str(fault), "type": "value_error"}
            raise RequestValidationError([told]) from fault
        return Aggregates(step_ms=step_ms, windows=[Window.model_construct(**asdict(one)) for one in found])

    return api
