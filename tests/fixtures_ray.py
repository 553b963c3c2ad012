"""A Ray cluster for tests alone: no other is joined, and nothing is left in the user's home."""

from __future__ import annotations

import pytest

TOKEN = "of-tests-of-lanner-alone-0123456789abcdef"


@pytest.fixture
def own_ray(monkeypatch):
    """Ray reads the token of its clusters once a process: all tests of one have the same."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
