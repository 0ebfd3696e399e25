"""What hosts of these tests have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def every_audit_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the one before took: on a busy machine a small one may be slow, too."""
    monkeypatch.setattr("cloud.host.SLOW_AUDIT_S", 1e9)
