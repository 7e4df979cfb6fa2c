"""Flower's Jobs and Dead letters pages as a visitor sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chromium import Chromium, Page
from flower_world import HOSTILE, LONG, SCRIPT, SECRET, World, made_newer, start_flower

from batchq import Item, Job

ROWS = "#batchq-rows tr"


def show(page: Page, url: str, **options: int | bool) -> None:
    page.open(url, **options)  # type: ignore[arg-type]
    page.until("document.getElementById('batchq-status').textContent.startsWith('Updated')")


def row(page: Page, text: str) -> dict[str, str]:
    """Heading -> cell of the row that holds a text."""
    cells = page.until(
        "(() => { const heads = [...document.querySelectorAll('thead th')].map((one) => one.textContent);"
        f" const row = [...document.querySelectorAll('{ROWS}')].find((one) => one.textContent.includes({json.dumps(text)}));"
        " return row ? [...row.cells].map((cell) => cell.textContent) : null; })()"
    )
    heads = page.texts("thead th:not(.d-none)")
    return dict(zip(heads, cells, strict=True))


def test_jobs_are_shown_with_state_progress_counts_and_rate(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/jobs")
    mixed = row(page, world.jobs.mixed)
    assert (mixed["State"], mixed["Succeeded"], mixed["Failed"], mixed["Pending"]) == (
        "completed",
        "30",
        "4",
        "0",
    )
    assert "34 of 34 · 100 %" in mixed["Progress"]
    assert mixed["Rate"].endswith(("/s", "/min"))
    assert row(page, "held")["State"].startswith("pausedlunch <script>")
    assert page.trouble == []


def test_a_job_of_a_newer_batchq_does_not_hide_the_others(page: Page, world: World) -> None:
    with made_newer(world.url, "held"):
        show(page, world.guarded.url + "/jobs")
        page.until(
            f"[...document.querySelectorAll('{ROWS}')].some((one) => one.textContent.startsWith('heldunknown'))"
        )
        assert row(page, world.jobs.mixed)["State"] == "completed"
    assert page.trouble == []


def test_progress_moves_while_one_looks(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/jobs")
    page.js("window.same = true")
    long = chores(world, 20_000)  # longer than anybody looks: nothing depends on how fast the browser is
    first = page.until(f"{progress(long.id)} > 0 && {progress(long.id)}")
    page.until(f"{progress(long.id)} > {first}")
    page.until("document.querySelector('[data-eta]').offsetParent !== null")
    assert row(page, long.id)["Expected end"].startswith("in "), "ahead, not seconds since 1970"
    long.cancel()
    short = chores(world, 100)
    page.until(f"{progress(short.id)} === 100")
    widths = page.js(
        f"[...{row_of(short.id)}.querySelectorAll('.progress')].map((one) => one.style.width)",
    )
    assert widths == ["100%", "0%", "0%", "0%"]
    assert page.js("window.same"), "without loading the page again"
    assert page.trouble == []


def chores(world: World, count: int) -> Job:
    return world.client.submit([Item(f"i{n}", {"ms": 100}) for n in range(count)], operation="chore")


def row_of(job_id: str) -> str:
    return f"[...document.querySelectorAll('{ROWS}')].find((one) => one.textContent.includes('{job_id}'))"


def progress(job_id: str) -> str:
    return f"Number({row_of(job_id)}?.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow'))"


def test_rows_that_did_not_change_stay_so_that_a_selection_does(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/jobs")
    row(page, world.jobs.mixed)
    page.js("window.first = document.querySelector('#batchq-rows tr')")
    asked = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/jobs/data')).length"
    before = page.js(asked)
    page.until(f"{asked} >= {before} + 2")
    assert page.js("window.first.isConnected")


def test_hostile_ids_and_errors_are_text_and_nothing_else(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/dead-letters")
    assert page.texts(f"{ROWS} .batchq-item")[: len(HOSTILE)] == [
        SCRIPT,
        "\\u001b[31mred\\u001b[0m\\u0007",
        "invoice-\\u202egnp.exe",
        "x" * 200 + "… (10,240 characters)",
        "two\\nlines",
    ]
    assert SCRIPT in page.texts(f"{ROWS} .batchq-error")[0]
    assert page.js("document.querySelectorAll('main script, main img, main b').length") == 0
    assert page.js("document.title") == "Dead letters · Flower"
    body = page.js("document.body.innerText")
    assert SECRET not in body
    assert not {"\u202e", "\x1b", "\x07"} & set(body)
    show(page, world.guarded.url + "/jobs")
    assert row(page, "hostile")["Job"].startswith("hostile" + SCRIPT)
    assert page.js("document.querySelectorAll('main script, main img').length") == 0
    assert page.trouble == []


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_however_long_breaks_the_layout(page: Page, world: World, width: int) -> None:
    for path in ("/jobs", "/dead-letters"):
        show(page, world.guarded.url + path, width=width)
        page.until(f"document.querySelectorAll('{ROWS}').length > 3")
        assert page.js("document.documentElement.scrollWidth <= window.innerWidth"), path
        if width == 1440:
            assert page.js(
                "(() => { const box = document.querySelector('.table-responsive');"
                " return box.scrollWidth <= box.clientWidth; })()"
            ), f"{path}: all columns fit"
        assert LONG[:300] not in page.js("document.body.innerText") or path == "/dead-letters"


def test_a_job_leads_to_its_dead_letters_and_filters_stay_in_the_address(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/jobs")
    row(page, world.jobs.mixed)
    page.click(f"a[href$='job_id={world.jobs.mixed}']")
    page.until("location.pathname.endsWith('/dead-letters') && document.readyState === 'complete'")
    page.until(f"document.querySelectorAll('{ROWS}').length === 4")
    assert set(page.texts(f"{ROWS} .batchq-name")) == {world.jobs.mixed}
    page.js("document.querySelector('[name=reason]').value = 'SCHEMA_MISMATCH'")
    page.click("#batchq-filters button")
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert row(page, "schema")["Reason"].startswith("SCHEMA_MISMATCH")
    show(page, page.js("location.href"))
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert page.js("document.querySelector('[name=reason]').value") == "SCHEMA_MISMATCH"
    assert page.trouble == []


def test_jobs_are_chosen_by_state_with_flowers_own_pills(page: Page, world: World) -> None:
    show(page, world.guarded.url + "/jobs")
    page.click("[data-state=paused]")
    page.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert "held" in row(page, "held")["Job"]
    page.click("[data-state=failed]")
    page.until("document.querySelector('.empty-table-message')?.textContent === 'No jobs match.'")
    page.click("[data-state='']")
    page.until(f"document.querySelectorAll('{ROWS}').length > 3")


def test_pages_follow_each_other(page: Page, world: World) -> None:
    jobs = [world.client.submit([f"p{n}"], operation="chore", job_id=f"page-{n}") for n in range(26)]
    show(page, world.guarded.url + "/jobs")
    page.until(f"document.querySelectorAll('{ROWS}').length === 25")
    assert "disabled" in page.js("document.getElementById('batchq-newer').className")
    page.click("#batchq-older button")
    page.until("document.getElementById('batchq-info').textContent.startsWith('Showing 26 to')")
    row(page, "page-0")
    page.click("#batchq-newer button")
    page.until("document.getElementById('batchq-info').textContent === 'Showing 1 to 25'")
    for job in jobs:
        job.wait(30)
        world.client.delete(job.id)


@pytest.mark.parametrize("dark", [False, True])
def test_the_pages_look_as_flowers_own(page: Page, world: World, dark: bool, tmp_path: Path) -> None:
    """The heads of our table, of Flower's tasks: colours, sizes and fonts as computed by the browser."""
    looks = {}
    style = "(one) => { const s = getComputedStyle(one); return [s.color, s.backgroundColor, s.fontSize, s.fontWeight, s.textTransform, s.fontFamily]; }"
    for path in ("/tasks", "/jobs", "/dead-letters"):
        page.open(world.guarded.url + path, dark=dark)
        page.until("document.querySelectorAll('.tasks-table tbody tr td').length > 0")
        looks[path] = [
            page.js(f"({style})(document.querySelector('{selector}'))")
            for selector in ("thead th", ".tasks-table-card", "body", ".app-nav .nav-link.active")
        ]
        page.picture(tmp_path / f"{path.strip('/')}-{'dark' if dark else 'light'}.png")
    assert looks["/jobs"] == looks["/tasks"] == looks["/dead-letters"]


def test_a_flower_that_is_gone_is_told(chromium: Chromium, world: World, tmp_path: Path) -> None:
    flower = start_flower(world.url, tmp_path / "log")
    page = chromium.page()
    try:
        show(page, flower.url + "/jobs")
        flower.kill()
        page.until("document.getElementById('batchq-status').textContent.includes('does not answer')")
        assert page.js("document.getElementById('batchq-indicator').className").endswith("status-dot-error")
        assert row(page, world.jobs.hostile), "what was known stays"
    finally:
        flower.kill()
        page.close()


def test_flowers_tasks_page_shows_waves_and_no_items(page: Page, world: World) -> None:
    page.open(world.guarded.url + "/tasks?name=batchq.complete_wave")
    shown = "document.querySelector('#tasks-table tbody').textContent"
    page.until(f"{shown}.includes('batchq.complete_wave') && /wave=\\d+, items=\\d+/.test({shown})")
    page.open(world.guarded.url + "/tasks?name=batchq.process_item")
    page.until("document.querySelector('#tasks-table tbody').innerText.includes('No tasks match')")


def test_flowers_workers_page_shows_the_fleet(page: Page, world: World) -> None:
    page.open(world.guarded.url + "/workers")
    page.until("document.querySelector('#workers-table tbody').textContent.includes('fleet-one@here')")
    assert "Online" in page.js("document.querySelector('#workers-table tbody').innerText")
