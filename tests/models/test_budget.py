"""Who goes for whom, by figures alone."""

from __future__ import annotations

import random

import pytest

from native_host.models.budget import Fits, Holding, Never, Wait, plan, to_trim

OLD = Holding("old", 40, "idle", since=1)
NEW = Holding("new", 40, "idle", since=2)
BUSY = Holding("busy", 40, "busy", since=3)
LATER = Holding("later", 40, "busy", since=4)
PINNED = Holding("pinned", 40, "pinned")
LOADING = Holding("loading", 40, "loading")
LEAVING = Holding("leaving", 40, "leaving")


def retired(found: Fits | Wait | Never) -> list[str]:
    assert isinstance(found, Wait)
    return [holding.name for holding in found.retire]


def test_what_fits_fits() -> None:
    assert plan(100, [], 100) == Fits()
    assert plan(100, [OLD], 60) == Fits()


def test_the_least_recently_used_goes_first_and_no_more_than_it_takes() -> None:
    assert retired(plan(100, [NEW, OLD], 30)) == ["old"]
    assert retired(plan(100, [NEW, OLD], 70)) == ["old", "new"]


def test_one_that_a_later_one_makes_needless_stays() -> None:
    small = Holding("small", 5, "idle", since=0)
    assert retired(plan(100, [small, OLD, NEW], 40)) == ["old"]


def test_models_in_use_and_pinned_ones_are_waited_for() -> None:
    assert plan(100, [BUSY, LATER], 30) == Wait()
    assert plan(100, [BUSY, PINNED], 30) == Wait()
    assert plan(100, [LOADING, BUSY], 30) == Wait()


def test_idle_models_stay_where_their_going_would_not_do() -> None:
    assert plan(100, [OLD, BUSY], 90) == Wait()


def test_the_impatient_retire_busy_models_oldest_load_first() -> None:
    assert retired(plan(100, [LATER, BUSY], 30, impatient=True)) == ["busy"]
    assert retired(plan(120, [LATER, OLD, BUSY], 50, impatient=True)) == ["old", "busy"]
    assert plan(100, [LOADING, PINNED], 30, impatient=True) == Wait()


def test_what_is_leaving_counts_as_gone_but_is_waited_for() -> None:
    assert plan(100, [LEAVING, OLD], 60) == Wait()
    assert retired(plan(100, [LEAVING, OLD], 70)) == ["old"]


def test_nobody_passes_those_who_wait_unless_there_is_room_for_all() -> None:
    assert plan(100, [OLD], 20, promised=30) == Fits()
    assert plan(100, [BUSY], 40, promised=50) == Wait()
    assert plan(100, [BUSY, LEAVING], 20, promised=40) == Fits()


def test_what_cannot_fit_is_said_with_what_is_in_the_way() -> None:
    assert plan(100, [], 101) == Never(100, [])
    assert plan(100, [PINNED, OLD], 70) == Never(60, ["pinned"])
    assert plan(30, [PINNED], 1) == Never(0, ["pinned"])


def test_growth_is_trimmed_but_the_last_used_model_stays() -> None:
    assert to_trim(100, [OLD, NEW]) == []
    assert to_trim(70, [OLD, NEW]) == [OLD]
    assert to_trim(30, [NEW]) == []
    assert to_trim(30, [OLD, NEW]) == [OLD]
    assert to_trim(50, [BUSY, NEW]) == [NEW]
    assert to_trim(50, [LEAVING, NEW]) == []


@pytest.mark.parametrize("seed", range(50))
def test_following_the_plan_always_makes_room(seed: int) -> None:
    draw = random.Random(seed)
    standings = ["pinned", "idle", "busy", "leaving"]
    held = [
        Holding(str(number), draw.randint(1, 50), draw.choice(standings), draw.random())  # type: ignore[arg-type]  # one of the standings
        for number in range(draw.randint(0, 8))
    ]
    limit, needed = draw.randint(50, 300), draw.randint(1, 120)
    found = plan(limit, held, needed, impatient=True)
    if isinstance(found, Never):
        assert needed + sum(one.bytes for one in held if one.standing == "pinned") > limit
        return
    if isinstance(found, Wait):
        held = [one for one in held if one not in found.retire and one.standing != "leaving"]
    assert sum(one.bytes for one in held) + needed <= limit
