"""Is this point usual for its series? A detector that learns as it goes and can say in words what it saw.

Fed by the alerts with one series' points in the order of their times; hands back a ``Verdict`` for each. Strictly
online: a point is judged by those before it and nothing else. Four features (the point, the means of the last 20 and
60, the logarithm of the variance of the last 35) are each compared with their own past (``reservoir``), and again
after taking off the daily or weekly pattern where that is strong (``season``); the score is the mean of log(1 + z).

How high a score must be is learned from the series itself, so that false alarms come as often as was asked for:
each alarm raises the threshold by a step, and each point lowers it by the share of a step that the asked-for
rate is of one (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021). Whatever the
series does, its alarms over n points are then at most rate * n + (threshold - START) / STEP.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from msgspec import Struct

from barograph.stats.evidence import Finding, Track, TrackState
from barograph.stats.season import Pattern, Season, SeasonState
from barograph_client.errors import InvalidInput

START = 0.8  # threshold of a new series, and the least: the features are about 1.2 robust deviations off
STEP = 0.2  # how far an alarm raises it
CALM = 0.8  # a point whose score has come down below this share of the threshold is calm
SETTLED = 5  # calm points in a row with which an episode is over
REFRACTORY = 60  # points after an episode's last that was not calm, in which the longest window still holds it
WORSE = 0.5  # by how much a score must pass all of an episode to begin one in those: its deviations are 1.65 times
LEARNING = 100  # points before the first alarm can be given
ACCEPTED = 500  # points after which a level that stayed is the usual one
LARGEST = 1e37  # values beyond are taken as this one; their squares still have room in double precision
WEEK = timedelta(weeks=1)


class Sensitivity(Struct, frozen=True, kw_only=True):
    """The one knob: how many false alarms a week are expected, given the time between two points.

    Raises InvalidInput for a rate or an interval that is not positive, and for a rate above one alarm a refractory
    time, which no series could reach.
    """

    false_alarms_per_week: float = 1.0
    interval: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.interval <= timedelta():
            raise InvalidInput("the time between two points must be positive", value=self.interval)
        if not 0 < self.rate <= 1 / REFRACTORY:
            raise InvalidInput(
                "so many false alarms a week cannot be expected",
                hint=f"Ask for more than 0 and at most {WEEK / self.interval / REFRACTORY:.3g} at this interval.",
                value=self.false_alarms_per_week,
            )

    @property
    def rate(self) -> float:
        """Expected false alarms a point."""
        return self.false_alarms_per_week * (self.interval / WEEK)


class DetectorState(Struct, frozen=True, kw_only=True):
    """A detector at rest; JSON by msgspec. Restored, it goes on with the same scores to the bit."""

    raw: TrackState = TrackState()
    residual: TrackState = TrackState()
    daily: SeasonState = SeasonState()
    weekly: SeasonState = SeasonState()
    pattern: Pattern | None = None
    threshold: float = START
    points: int = 0
    since_hot: int = REFRACTORY + 1
    episode: int = 0
    peak: float = 0.0


class Verdict(Struct, frozen=True, kw_only=True, gc=False):
    """What the detector says of one point.

    ``alarm`` is true on the first point of an episode only, ``anomalous`` until it is over. While the longest window
    holds a point of an episode, only what is worse than all of it begins another: a spike is one, however long the
    means remember it. ``score`` is the mean of log(1 + z) over the ``findings``; ``learning`` means that too little is
    known yet. A missing point has no findings.
    """

    score: float
    threshold: float
    alarm: bool
    anomalous: bool
    learning: bool
    findings: tuple[Finding, ...] = ()
    pattern: Pattern | None = None


class Detector:
    """One series. Bounded memory; no setting but the sensitivity."""

    def __init__(self, sensitivity: Sensitivity, state: DetectorState | None = None) -> None:
        state = state or DetectorState()
        self._rate = sensitivity.rate
        self._raw, self._residual = Track(state.raw), Track(state.residual)
        self._seasons = Season("daily", state.daily), Season("weekly", state.weekly)
        self._pattern: Pattern | None = state.pattern
        self._threshold, self._points = state.threshold, state.points
        self._since_hot, self._episode, self._peak = state.since_hot, state.episode, state.peak

    def state(self) -> DetectorState:
        daily, weekly = self._seasons
        return DetectorState(
            raw=self._raw.state(), residual=self._residual.state(), daily=daily.state(), weekly=weekly.state(),
            pattern=self._pattern, threshold=self._threshold, points=self._points, since_hot=self._since_hot,
            episode=self._episode, peak=self._peak,
        )  # fmt: skip

    def update(self, at: datetime, value: float | None) -> Verdict:
        """Judge the next point, then learn it. None, NaN and infinities are missing points: they say nothing.

        ``at`` is aware and in the zone whose clock people live by: the daily pattern follows it.
        """
        learning = self._points < LEARNING
        if value is None or not math.isfinite(value):
            return Verdict(
                score=0.0, threshold=self._threshold, alarm=False, anomalous=self._anomalous,
                learning=learning, pattern=self._pattern,
            )  # fmt: skip
        value = min(max(float(value), -LARGEST), LARGEST)
        findings = self._look(at, value)
        score = sum([math.log1p(finding.z) for finding in findings]) / len(findings) if findings else 0.0
        before = self._anomalous
        self._points += 1
        begins = self._decide(score)
        return Verdict(
            score=score, threshold=self._threshold - (STEP if begins else 0.0), alarm=self._anomalous and not before,
            anomalous=self._anomalous, learning=learning, findings=findings, pattern=self._pattern,
        )  # fmt: skip

    @property
    def _anomalous(self) -> bool:
        """Whether an episode is on that is told: one of the first points is when they are over."""
        return self._episode > 0 and self._points > LEARNING

    def _look(self, at: datetime, value: float) -> tuple[Finding, ...]:
        """The features of this point against their past, which they then join."""
        usual = self._raw.spread()
        widest = 5 * (usual.highest - usual.lowest) if usual else math.inf
        left = {season.pattern: season.residual(at, value, widest) for season in self._seasons}
        strong = [season for season in self._seasons if season.strong]
        pattern = max(strong, key=lambda season: season.strength).pattern if strong else None
        if pattern != self._pattern:
            self._pattern = pattern
            self._residual = Track()
        findings = self._raw.look(value)
        residual = left[pattern] if pattern else None
        if residual is not None:
            findings += self._residual.look(residual, usual)
        return findings

    def _decide(self, score: float) -> bool:
        """Move the threshold and the episode on; whether a new episode begins."""
        self._threshold = max(START, self._threshold - STEP * self._rate)
        self._since_hot += 1
        if self._episode:
            self._go_on(score)
            return False
        worse = score >= self._peak + WORSE and self._points > LEARNING
        held = self._since_hot <= REFRACTORY and not worse
        if score < self._threshold or held:
            return False
        self._since_hot, self._peak = 0, score
        self._threshold += STEP
        self._episode = 1
        return True

    def _go_on(self, score: float) -> None:
        """One point more of the episode, unless it is over."""
        self._episode += 1
        self._peak = max(self._peak, score)
        if score >= CALM * self._threshold:
            self._since_hot = 0
        elif self._since_hot >= SETTLED:
            self._episode = 0
        if self._episode > ACCEPTED:
            self._raw.forget(ACCEPTED)
            self._residual.forget(ACCEPTED)
            self._episode = 0
