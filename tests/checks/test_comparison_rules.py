"""What counts as changed, with responses made by hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import tiny_network

import zfviz
from zfviz.checks.checking import Measurement, all_checks
from zfviz.checks.records import Baseline, Shown
from zfviz.checks.responses import LayerResponses, Responses
from zfviz.checks.subject import Subject
from zfviz.errors import SkipError

CHECKS = {check.code: check for check in all_checks()}


@dataclass(frozen=True)
class Seen:
    """What a layer relu1 of some channels did for pictures named by letters: its peaks, images by channels."""

    peaks: np.ndarray
    top1: tuple[int, ...] | None = None
    names: str = "abcdefghijklmnopqrstuvwxyz"

    def responses(self) -> Responses:
        layer = replace(zfviz.load(tiny_network()).layer("relu1"), shape=(self.peaks.shape[1], 16, 16))
        fired = self.peaks > 0
        whole = LayerResponses(layer, self.peaks, fired, 1.0 - fired, fired, np.zeros(len(fired), int))
        names = tuple(self.names[: len(fired)])
        return Responses(names, (whole,), None if self.top1 is None else np.array(self.top1), names)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seen, Seen, str], list[Measurement]]:
    """What a check says of responses, before and now."""

    def judge(before: Seen, now: Seen, code: str) -> list[Measurement]:
        monkeypatch.setattr(Subject, "responses", now.responses())
        subject = Subject(zfviz.load(tiny_network()), (), Baseline({}, shown=Shown.of(before.responses())))
        return list(CHECKS[code].measure(subject))

    return judge


def ranked(*rankings: str, count: int = 20) -> np.ndarray:
    """The peaks of channels that fired for these pictures, strongest first, of so many pictures."""
    peaks = np.zeros((count, len(rankings)), np.float32)
    for channel, ranking in enumerate(rankings):
        for strength, name in enumerate(reversed(ranking), 1):
            peaks["abcdefghijklmnopqrstuvwxyz".index(name), channel] = strength
    return peaks


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ("abcdefgh", "abcdefgh", False),
        ("abcdefgh", "edcbahgf", False),
        ("abcde", "abfgh", False),
        ("abcde", "afghi", True),
        ("abcde", "fghijabcd", True),
        ("abc", "afg", True),
        ("abc", "ab", False),
        ("ab", "ag", False),
        ("ab", "fgab", True),
        ("a", "abcde", False),
        ("a", "fa", True),
        ("abcde", "", True),
    ],
)
def test_a_channel_that_keeps_fewer_than_two_of_five_pictures_has_changed(
    before: str, now: str, changed: bool, judged
) -> None:
    (measured,) = judged(Seen(ranked(before)), Seen(ranked(now)), "ZF502")
    assert measured.channels == ((0,) if changed else ())
    assert measured.value == changed
    assert measured.image == ("a" if changed else "")


def test_what_a_channel_responded_to_is_looked_at_among_the_pictures_that_both_saw(judged) -> None:
    before = Seen(ranked("vwxab", "vwxyz", "", count=26))
    # v to z are not there any more, and new ones are stronger than all others
    new = np.concatenate([ranked("ab", "ab", "ab", count=21), np.full((4, 3), 9, np.float32)])
    (measured,) = judged(before, Seen(new, names="abcdefghijklmnopqrstu1234"), "ZF502")
    # the second channel has nothing left to compare, the third never fired
    assert measured.value == 0
    assert measured.said == "0 of 1 channels respond to others of the 21 pictures that both saw"


def test_a_picture_that_is_there_twice_counts_once(judged) -> None:
    before = Seen(ranked("ab", count=24), names="abcdefghijklmnopqrstaaaa")
    now = Seen(ranked("ab", count=23), names="abcdefghijklmnopqrstbbb")
    for one, other in ((before, now), (now, before)):
        assert judged(one, other, "ZF502")[0].said.endswith("of the 20 pictures that both saw")


def test_fewer_than_twenty_pictures_say_nothing_of_channels(judged) -> None:
    for code in ("ZF502", "ZF505"):
        assert judged(Seen(ranked("abc")), Seen(ranked("")), code)[0].value == 1
        with pytest.raises(SkipError, match="too few pictures that the baseline saw too: 19"):
            judged(Seen(ranked("abc", count=19)), Seen(ranked("", count=19)), code)


def test_a_channel_is_dead_that_fired_for_two_pictures_and_fires_for_none(judged) -> None:
    before = Seen(ranked("ab", "ab", "a", "", "zy", count=26))
    (measured,) = judged(before, Seen(ranked("", "c", "", "", "", count=24)), "ZF505")
    assert measured.channels == (0,)
    assert measured.value == 1 / 5
    assert measured.image == "a"


def agreement(count: int, flipped: int) -> tuple[Seen, Seen]:
    peaks = ranked("a", count=count)
    return Seen(peaks, (0,) * count), Seen(peaks, (1,) * flipped + (0,) * (count - flipped))


@pytest.mark.parametrize(
    ("count", "flipped", "value"),
    [(20, 0, 1), (20, 1, 0.95), (26, 26, 0), (19, 0, None), (19, 2, None), (19, 3, 16 / 19), (3, 3, 0), (2, 2, None)],
)
def test_classes_of_few_pictures_count_where_three_have_changed(
    count: int, flipped: int, value: float | None, judged
) -> None:
    if value is None:
        with pytest.raises(SkipError, match=f"too few pictures that the baseline saw too: {count}"):
            judged(*agreement(count, flipped), "ZF503")
    else:
        assert judged(*agreement(count, flipped), "ZF503")[0].value == pytest.approx(value)


def test_three_flips_of_twenty_are_a_finding_and_two_are_none() -> None:
    check = CHECKS["ZF503"]
    assert check.limit is not None
    assert check.is_beyond(17 / 20, check.limit)
    assert not check.is_beyond(18 / 20, check.limit)


def test_classes_that_nobody_told_are_not_compared(judged) -> None:
    one, other = agreement(20, 5)
    with pytest.raises(SkipError, match="the baseline has no classes"):
        judged(replace(one, top1=None), other, "ZF503")
