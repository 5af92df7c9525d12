"""The moment that a page looks at: now, or one that is chosen with a slider, or played."""

from typing import TYPE_CHECKING

from nicegui import ui

from streams.domain.times import moment_text, parse_moment
from streams.pages.units import moment_words
from streams.web.moment import world_now_ms

if TYPE_CHECKING:
    from streams.pages.shell import View

SPANS = {900: "15 min", 3_600: "1 h", 21_600: "6 h", 86_400: "24 h", 604_800: "7 d"}
"""[s] How far the slider reaches back."""

SPEEDS = {1: "1 ×", 10: "10 ×", 60: "60 ×", 300: "300 ×"}
"""[1] Seconds of the past that are played in one second."""

FRAME_S = 1.0
"""[s] Between two moments that are played."""

STEPS = 1_000
"""[1] Of the slider."""


def time_bar(view: "View") -> None:
    """The bar; it does nothing without a history store but say so."""
    bar = ui.row().classes("twin-time").props('role="group" aria-label="Time"')
    with bar:
        if view.web.state.history is None:
            ui.label("Live").classes("twin-live")
            ui.label("no history store is set (TWIN_HISTORY_URL)").classes("twin-muted")
            return
        _TimeBar(view)


class _TimeBar:
    def __init__(self, view: "View") -> None:
        self._view = view
        at_ms = self._at_ms()
        self._live = ui.button("Live", icon="circle", on_click=self._go_live)
        self._live.props("dense no-caps no-wrap unelevated").classes("twin-live-button")
        self._live.tooltip("Look at what is now")
        self._span = ui.select(SPANS, value=self._span_for(at_ms)).props("dense options-dense borderless")
        self._span.tooltip("How far the slider reaches back")
        self._slider = ui.slider(min=0, max=STEPS, value=self._place(at_ms)).classes("twin-slider")
        self._slider.props('aria-label="Moment"')
        self._slider.on("change", self._slid)
        self._slider.on_value_change(self._tell)
        self._play = ui.button(icon="play_arrow", on_click=self._toggle).props(
            'flat round dense aria-label="Play"'
        )
        self._play.tooltip("Play from here")
        self._speed = ui.select(SPEEDS, value=60).props("dense options-dense borderless")
        self._label = ui.label().classes("twin-moment")
        self._since = ui.link("what changed since", target="#").classes("twin-link-plain")
        self._timer = ui.timer(FRAME_S, self._tick, active=False)
        self._show(at_ms)

    def _now_ms(self) -> int:
        return world_now_ms(self._view.request, self._view.world)

    def _at_ms(self) -> int | None:
        try:
            return parse_moment(self._view.at, self._now_ms()) if self._view.at else None
        except ValueError:
            return None

    def _span_for(self, at_ms: int | None) -> int:
        age_s = 0 if at_ms is None else (self._now_ms() - at_ms) / 1000
        return next((span for span in SPANS if age_s <= span), max(SPANS))

    def _span_ms(self) -> int:
        return 1000 * int(self._span.value or 900)

    def _place(self, at_ms: int | None) -> float:
        if at_ms is None:
            return STEPS
        age_ms = self._now_ms() - at_ms
        return max(0.0, STEPS - age_ms / (self._span_ms()) * STEPS)

    def _chosen_ms(self) -> int | None:
        if self._slider.value >= STEPS:
            return None
        back: float = (STEPS - self._slider.value) / STEPS * self._span_ms()
        return round(self._now_ms() - back)

    def _tell(self) -> None:
        self._label.set_text(_text(self._chosen_ms()))

    def _show(self, at_ms: int | None) -> None:
        self._label.set_text(_text(at_ms))
        self._live.props("color=positive" if at_ms is None else "color=grey-7")
        ui.query("body").classes(remove="past") if at_ms is None else ui.query("body").classes("past")
        self._since.set_visibility(at_ms is not None)
        if at_ms is not None:
            since = self._view.href("/changes", at=None, **{"from": moment_text(at_ms)})
            self._since.props(f'href="{since}"')

    async def _slid(self) -> None:
        await self._go(self._chosen_ms())

    async def _go_live(self) -> None:
        self._stop()
        self._slider.set_value(STEPS)
        await self._go(None)

    async def _go(self, at_ms: int | None) -> None:
        self._show(at_ms)
        await self._view.go_to(None if at_ms is None else moment_text(at_ms))

    def _toggle(self) -> None:
        if self._timer.active:
            self._stop()
        elif self._chosen_ms() is not None:
            self._timer.activate()
            self._play.props('icon=pause aria-label="Pause"')
        else:
            ui.notify("Choose a moment of the past first: there is nothing to play after now")

    def _stop(self) -> None:
        self._timer.deactivate()
        self._play.props('icon=play_arrow aria-label="Play"')

    async def _tick(self) -> None:
        at_ms = self._at_ms()
        if at_ms is None:
            self._stop()
            return
        next_ms = at_ms + round(FRAME_S * 1000 * self._speed.value)
        if next_ms >= self._now_ms():
            await self._go_live()
            return
        self._slider.set_value(self._place(next_ms))
        await self._go(next_ms)


def _text(at_ms: int | None) -> str:
    return "now" if at_ms is None else f"{moment_words(at_ms)} UTC"
