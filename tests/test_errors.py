"""The catalogue of errors is complete and consistent."""

from __future__ import annotations

import inspect
import re
import string

import pytest

from appliance.errors import (
    ApplianceError,
    CannotStart,
    Refused,
    SessionEnded,
    catalogue,
)

EVERY = sorted(catalogue().items())
each = pytest.mark.parametrize(("reason", "kind"), EVERY, ids=[reason for reason, _ in EVERY])

NUMBERS = ("limit", "port", "line", "seconds", "bytes")  # fields named so, or ending so


def example(name: str) -> object:
    return 4 if name.rpartition("_")[2] in NUMBERS else "something"


def fields(kind: type[ApplianceError]) -> set[str]:
    template = inspect.cleandoc(kind.__doc__ or "")
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def all_kinds(kind: type[ApplianceError] = ApplianceError) -> list[type[ApplianceError]]:
    below = [deeper for child in kind.__subclasses__() for deeper in all_kinds(child)]
    return [kind, *below]


@each
def test_each_says_what_happened_and_what_to_do(reason: str, kind: type[ApplianceError]) -> None:
    assert kind.advice.endswith(".")
    assert "{" not in kind.advice
    assert (kind.__doc__ or "").endswith(".")


@each
def test_each_template_fills_in(reason: str, kind: type[ApplianceError]) -> None:
    details = {name: example(name) for name in fields(kind)}
    error = kind(**details)
    assert "{" not in str(error) and "\n" not in str(error)
    assert error.details == details


@each
def test_each_reason_can_be_a_label(reason: str, kind: type[ApplianceError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason)
    assert kind.reason == reason


def test_no_reason_is_used_twice() -> None:
    reasons = [kind.reason for kind in all_kinds() if kind.reason and "reason" in vars(kind)]
    assert len(reasons) == len(set(reasons))


def test_each_kind_has_a_reason_of_its_own_unless_it_only_groups_others() -> None:
    for kind in all_kinds():
        assert "reason" in vars(kind) or kind.__subclasses__(), kind


@each
def test_each_code_is_one_that_exists(reason: str, kind: type[ApplianceError]) -> None:
    if issubclass(kind, Refused):
        assert kind.http_status in (400, 401, 403, 404, 429, 503)
        assert (kind.retry_after_seconds is not None) == (kind.http_status in (429, 503))
    if issubclass(kind, SessionEnded):
        assert kind.close_code in (1000, 1001, 1002, 1008, 1009, 1011, 1012, 1013)
    if issubclass(kind, CannotStart):
        assert 64 <= kind.exit_code <= 79  # sysexits.h ends at 78; 79 is a broken seal
    assert 1 <= kind.exit_code <= 125  # above, shells report signals
