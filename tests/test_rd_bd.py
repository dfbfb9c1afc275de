# SPDX-License-Identifier: BSD-2-Clause
"""BD-rates: right where they can be known, and a reason instead of a number where they cannot."""

from __future__ import annotations

import math

import pytest

from clarivid.rd import bd_rate

CURVE = [(400.0, 70.0), (800.0, 80.0), (1600.0, 88.0), (3200.0, 94.0)]


@pytest.mark.parametrize("change", [-10.0, -1.0, 0.0, 25.0])
def test_a_curve_shifted_in_rate_has_that_bd_rate(change: float) -> None:
    test = [(rate * (1 + change / 100), quality) for rate, quality in CURVE]
    delta = bd_rate(CURVE, test)
    assert delta.rate == pytest.approx(change, abs=1e-9)
    assert delta.overlap == 1.0
    assert delta.notes == ()


def test_the_order_of_points_does_not_matter() -> None:
    test = [(0.8 * rate, quality + 1) for rate, quality in CURVE]
    assert bd_rate(CURVE[::-1], test) == bd_rate(CURVE, test[::-1])


def test_a_known_integral_is_found() -> None:
    # log rate = quality / 10 and quality / 20 + 4: the mean difference over the shared 70..94 is known.
    anchor = [(math.exp(q / 10), q) for q in (70.0, 78.0, 86.0, 94.0)]
    test = [(math.exp(q / 20 + 4), q) for q in (70.0, 78.0, 86.0, 94.0)]
    mean = 4 - (70.0 + 94.0) / 2 / 20
    assert bd_rate(anchor, test).rate == pytest.approx(100 * (math.exp(mean) - 1), abs=1e-6)


def test_only_qualities_that_both_reach_are_compared() -> None:
    # Twice as good a rate everywhere, but the test's curve ends earlier: nothing is extrapolated.
    test = [
        (rate / 2, quality)
        for rate, quality in [(400.0, 70.0), (800.0, 80.0), (1130.0, 84.2), (1600.0, 88.0)]
    ]
    delta = bd_rate(CURVE, test)
    assert delta.rate == pytest.approx(-50, abs=0.5)
    assert delta.overlap == 1.0  # all of the shorter curve


def test_curves_without_a_common_quality_give_no_number() -> None:
    delta = bd_rate(CURVE, [(rate, quality + 30) for rate, quality in CURVE])
    assert delta.rate is None
    assert delta.overlap == 0
    assert "share no quality" in delta.problem


def test_a_small_overlap_gives_no_number_and_a_middling_one_a_note() -> None:
    small = bd_rate(CURVE, [(rate, quality + 14) for rate, quality in CURVE])
    assert small.rate is None
    assert "only 42%" in small.problem
    middling = bd_rate(CURVE, [(rate, quality + 9) for rate, quality in CURVE])
    assert middling.rate is not None
    assert any("share 62%" in note for note in middling.notes)


def test_quality_that_falls_with_rate_gives_no_number() -> None:
    bent = [*CURVE[:3], (3200.0, 87.0)]
    assert bd_rate(CURVE, bent) == bd_rate(CURVE, bent[::-1])
    assert bd_rate(CURVE, bent).problem == "quality of the variant does not rise with rate"
    assert bd_rate(bent, CURVE).problem == "quality of plain does not rise with rate"


def test_points_at_the_ceiling_are_left_out() -> None:
    five = [*CURVE, (6400.0, 97.0)]
    saturated = [*CURVE, (6400.0, 100.0)]
    delta = bd_rate(five, saturated, top=100.0)
    assert delta.rate == pytest.approx(0, abs=0.5)
    assert "1 point(s) of the variant at the score's ceiling left out" in delta.notes
    assert bd_rate(CURVE, [*CURVE[:3], (3200.0, 100.0)], top=100.0).problem == (
        "the variant has 3 usable points, 4 are needed"
    )


def test_too_few_points_for_a_steep_curve_are_told() -> None:
    # As a noisy clip has it: the rate falls to a fifteenth where the encoder stops coding noise.
    anchor = [(167.0, 46.6), (632.0, 57.4), (9670.0, 76.7), (31407.0, 90.0)]
    test = [(150.0, 46.9), (300.0, 58.0), (6000.0, 61.0), (31000.0, 88.0)]
    delta = bd_rate(anchor, test)
    assert delta.rate is not None
    assert any("akima" in note and "too few rate points" in note for note in delta.notes)
