"""The page in a real browser: no error, no request, a filter that filters, hostile answers inert.

The browser is driven by its own debugging protocol, since the page lets no foreign script in.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.benchmarks.rows import AnswerRow, Dialogue, DialogueTurn
from tasks.reports.history import history
from tasks.reports.html import render_history, render_html
from tasks.reports.run_report import FamilyReport, RunReport
from tests.parts import lacks
from tests.servers.browser import CHROMIUM, Browser, open_browser

FamilyMaker = Callable[..., FamilyReport]

EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\u2028<!--<script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        lacks("browser", "no chromium is installed: the page cannot be opened")
    with open_browser() as opened:
        yield opened


def shown(browser: Browser, run: RunReport | str, folder: Path, inject: str = "") -> None:
    """Opens a run's page, and starts counting errors and requests anew."""
    file = folder / "report.html"
    page = run if isinstance(run, str) else render_html(run)
    file.write_text(page.replace("<main>", f"<main>{inject}"))
    browser.errors.clear()
    browser.requests.clear()
    browser.open(file.as_uri())


def visible(browser: Browser) -> list[str]:
    """The instructions that the list shows."""
    rows = "[...document.querySelectorAll('#list li:not([hidden]) .clip')].map(node => node.textContent)"
    found: list[str] = browser.evaluate(rows)
    return found


def test_filter_and_search_show_what_they_say(
    browser: Browser, run_report: RunReport, tmp_path: Path
) -> None:
    shown(browser, run_report, tmp_path)
    assert visible(browser) == [f"instruction {n}" for n in range(7)]
    for kind, expected in {"win": [0, 1, 2], "loss": [3, 4], "tie": [5], "unjudged": [6]}.items():
        browser.evaluate(f"document.querySelector('input[value={kind}]').click()")
        assert visible(browser) == [f"instruction {n}" for n in expected]
        assert browser.evaluate(f"document.querySelector('[data-count={kind}]').textContent") == str(
            len(expected)
        )
    browser.evaluate("document.querySelector('input[value=all]').click()")
    search = "document.getElementById('search')"
    browser.evaluate(f"{search}.value = 'BETTER 4'; {search}.dispatchEvent(new Event('input'))")
    assert visible(browser) == ["instruction 4"]
    assert "better 4" in browser.evaluate("document.getElementById('detail').textContent")
    assert browser.errors == []
    assert all(url.startswith("file:") for url in browser.requests)
    assert len(browser.requests) == 1, "one page, nothing else"


def test_hostile_text_is_shown_and_never_run(
    browser: Browser, make_family: FamilyMaker, run_report: RunReport, tmp_path: Path
) -> None:
    row = AnswerRow(instruction=EVIL, original=EVIL, expo=EVIL, reference=EVIL)
    family = make_family("demo", answers=(row,)).model_copy(update={"family": EVIL, "settings": {EVIL: EVIL}})
    shown(
        browser, run_report.model_copy(update={"name": EVIL, "families": (family,), "note": EVIL}), tmp_path
    )
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.querySelector('.answer.expo .text').textContent") == EVIL
    assert browser.errors == []


def test_the_policy_stops_a_script_that_got_in(
    browser: Browser, run_report: RunReport, tmp_path: Path
) -> None:
    """Even if escaping failed one day: the page runs its own script only."""
    shown(browser, run_report, tmp_path, inject="<script>window.hacked=1</script>")
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert "Content Security Policy" in "".join(browser.errors)
    assert visible(browser)


def test_families_can_be_switched(
    browser: Browser, make_family: FamilyMaker, run_report: RunReport, tmp_path: Path
) -> None:
    row = AnswerRow(instruction="only here", original="a", expo="b" * 200_000, original_preference=0.1)
    second = make_family("zephyr-7b-beta", answers=(row,))
    shown(browser, run_report.model_copy(update={"families": (*run_report.families, second)}), tmp_path)
    select = "document.getElementById('set')"
    browser.evaluate(f"{select}.value = '1'; {select}.dispatchEvent(new Event('change'))")
    assert visible(browser) == ["only here"]
    assert "not judged" in browser.evaluate("document.getElementById('detail').textContent")
    assert browser.errors == []


def test_dialogues_are_filtered_by_rating_and_read_turn_by_turn(
    browser: Browser, make_family: FamilyMaker, run_report: RunReport, tmp_path: Path
) -> None:
    """All of MT-Bench beside all of AlpacaEval; of four questions one is better, worse, same, unrated."""
    rows = tuple(
        AnswerRow(instruction=f"item {n}", original="o" * 2000, expo="e" * 2000, reference="r" * 2000)
        for n in range(805)
    )
    family = make_family("demo", answers=rows)
    family = family.model_copy(update={"dialogues": tuple(_dialogue(n) for n in range(80))})
    shown(browser, run_report.model_copy(update={"families": (family,)}), tmp_path)
    assert len(visible(browser)) == 805
    select = "document.getElementById('set')"
    assert browser.evaluate(f"{select}.innerText").split("\n") == ["demo, AlpacaEval 2.0", "demo, MT-Bench"]
    browser.evaluate(f"{select}.value = '1'; {select}.dispatchEvent(new Event('change'))")
    for kind, rest in {"win": 0, "loss": 1, "tie": 2}.items():
        browser.evaluate(f"document.querySelector('input[value={kind}]').click()")
        assert visible(browser) == [f"first question {n}" for n in range(80) if n % 4 == rest]
    browser.evaluate("document.querySelector('input[value=all]').click()")
    search = "document.getElementById('search')"
    browser.evaluate(f"{search}.value = 'EXPO 17, TURN 2'; {search}.dispatchEvent(new Event('input'))")
    assert visible(browser) == ["first question 17"]
    assert "7 → 6.5" in browser.evaluate("document.querySelector('#list li:not([hidden])').textContent")
    detail = browser.evaluate("document.getElementById('detail').textContent")
    for part in ("original better", "Question 98, math", "Turn 2", "second question 17", "the model answer"):
        assert part in detail
    words = "[...document.querySelectorAll('#detail .words .text')].map(node => node.textContent)"
    assert browser.evaluate(words) == ["fair", EVIL] * 2
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert browser.errors == []


def _dialogue(number: int) -> Dialogue:
    """The second turn's rating of + ExPO is 8, 6, 7 or missing where the original's is 7."""
    second = [8.0, 6.0, 7.0, None][number % 4]
    turns = tuple(
        DialogueTurn(
            question=f"{name} question {number}",
            original=f"original {number}, turn {turn}",
            expo=f"expo {number}, turn {turn}",
            reference="the model answer",
            original_rating=7.0,
            expo_rating=rating,
            original_judgment="fair",
            expo_judgment=EVIL,
        )
        for turn, name, rating in ((1, "first", 7.0 if second else None), (2, "second", second))
    )
    return Dialogue(benchmark="mt_bench", question_id=81 + number, category="math", turns=turns)


def _show_all(browser: Browser, page: str, folder: Path, width: int) -> None:
    """Shows a page in a window of this width, with everything open that opens."""
    _resize(browser, width)
    shown(browser, page, folder)
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, many_page: str, tmp_path: Path, width: int
) -> None:
    _show_all(browser, many_page, tmp_path, width)
    names = "[...document.querySelectorAll('option, h3, tbody th')]"
    browser.evaluate(f"{names}.forEach(node => node.textContent += '-long'.repeat(20))")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


OVERLAPS = """
[...document.querySelectorAll('svg.plot')].flatMap(plot => {
  const boxes = [...plot.querySelectorAll('text')].filter(node => node.textContent.trim())
    .map(node => [node.textContent.trim(), node.getBoundingClientRect()])
  return boxes.flatMap(([name, a], at) => boxes.slice(at + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3).map(([other]) => name + ' | ' + other))
})
"""


@pytest.mark.parametrize("width", [400, 1200])
def test_no_label_of_a_plot_covers_another(
    browser: Browser, many_page: str, tmp_path: Path, width: int
) -> None:
    _show_all(browser, many_page, tmp_path, width)
    assert browser.evaluate("document.querySelectorAll('svg.plot').length") >= 4
    assert browser.evaluate(OVERLAPS) == []


def test_the_history_page_is_whole_and_fits(
    browser: Browser, make_family: FamilyMaker, run_report: RunReport, tmp_path: Path
) -> None:
    nights = {}
    for night in range(1, 25):
        family = make_family("zephyr-7b-beta", gain=night / 4, seed=night)
        created = f"2026-11-{night:02d}T01:00:00+00:00"
        run = run_report.model_copy(
            update={"name": f"night-{night}", "created": created, "families": (family,)}
        )
        nights[run.name] = run.model_dump_json().encode()
    file = tmp_path / "history.html"
    file.write_text(render_history(history(nights | {EVIL: b"{}"}), EVIL))
    for width in (375, 1280):
        _resize(browser, width)
        browser.errors.clear()
        browser.requests.clear()
        browser.open(file.as_uri())
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        rows = browser.evaluate("[...document.querySelectorAll('tbody th')].map(head => head.textContent)")
        assert rows == [f"night-{night}" for night in range(24, 0, -1)]
        drawn = "document.querySelector('svg.plot').getBoundingClientRect().height"
        assert browser.evaluate(drawn) > 100
        assert EVIL in browser.evaluate("document.querySelector('.flag').textContent")
        assert browser.evaluate("typeof window.hacked") == "undefined"
        assert browser.errors == [] and len(browser.requests) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_color_of_text_can_be_read(
    browser: Browser, run_report: RunReport, tmp_path: Path, theme: str
) -> None:
    """Contrast of at least 4.5 (WCAG 2.1, 1.4.3, AA) on the page and on the cards, in both themes."""
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    shown(browser, run_report, tmp_path)
    style = "getComputedStyle(document.documentElement)"
    colors = {
        name: browser.evaluate(f"{style}.getPropertyValue('--{name}')").strip()
        for name in ("page", "surface", "ink", "muted", "accent", "better", "none", "worse")
    }
    light = _luminance(colors["page"]) > 0.5
    assert light == (theme == "light")
    for ground in ("page", "surface"):
        for name in ("ink", "muted", "accent", "better", "none", "worse"):
            high, low = sorted((_luminance(colors[name]), _luminance(colors[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def _luminance(color: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.1)."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _resize(browser: Browser, width: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
