"""The web page in a headless Chromium: it draws, opens, closes, finds, zooms and moves."""

from __future__ import annotations

import re
import shutil

import pytest

from config import resolve
from recognition.drawing.web_page import write_page
from symbols import get_symbol
from symbols.graph.builder import build_graph
from tests.helpers.hand_written import HAND_WRITTEN

pytestmark = pytest.mark.browser

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
WINDOW = {'width': 1366, 'height': 768}


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.fail(
            'the browser tests need Chromium, and there is none (Debian, Ubuntu: apt install chromium)'
        )
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('pages')


@pytest.fixture
def page_of(browser, folder):
    """Write a graph's page and open it; whatever the page complains of, or asks the network for, is a fault."""
    faults, pages = [], []

    def open_page(graph, name, **options):
        path = write_page(graph, folder / f'{name}.html', name, **options)
        page = browser.new_page(viewport=WINDOW)
        pages.append(page)
        page.set_default_timeout(5000)
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.on('console', lambda message: faults.append(message.text))
        page.on(
            'request', lambda request: faults.append(request.url) if request.url != path.as_uri() else None
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


@pytest.fixture(scope='module')
def r50():
    return nested('r50')


def nested(preset):
    return build_graph(get_symbol(resolve(preset)), {'data': (1, 3, 112, 112)}, 'nested')


def titles(page):
    """Return the titles of what is drawn, with the mark of what opens (▸) and closes (▾)."""
    return page.locator('#scene .title').all_text_contents()


def box(page, title):
    """Return the one box or frame whose title is `title`."""
    exact = page.locator('.title').get_by_text(re.compile(rf'^([▸▾] )?{re.escape(title)}$'))
    return page.locator('#scene g[data-id]').filter(has=exact).last


def zoom(page):
    return int(page.locator('#zoom').text_content().split()[0])


def middle(page, title):
    place = box(page, title).locator('rect').first.bounding_box()
    return place['x'] + place['width'] / 2, place['y'] + place['height'] / 2


def boxes(page):
    """Return the places of all boxes and frames on the screen, and for each the frame around it."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#scene g[data-id]')].map((group) => {
            const { x, y, width, height } = group.querySelector('rect').getBoundingClientRect();
            const around = group.parentElement.closest('g[data-id]');
            return { id: group.dataset.id, around: around && around.dataset.id, x, y, width, height };
        })"""
    )


def overlap(a, b):
    return (
        a['x'] < b['x'] + b['width'] - 0.01
        and b['x'] < a['x'] + a['width'] - 0.01
        and a['y'] < b['y'] + b['height'] - 0.01
        and b['y'] < a['y'] + a['height'] - 0.01
    )


# The boxes and frames that an arrow runs through, other than the one it begins or ends at.
CUT_THROUGH = """() => [...document.querySelectorAll('#scene .arrow')].flatMap((arrow) => {
    const points = [];
    for (let i = 0; i <= 40; i += 1) points.push(arrow.getPointAtLength((arrow.getTotalLength() * i) / 40));
    const beside = [...arrow.parentElement.children].filter((group) => group.matches('g[data-id]'));
    return beside.filter((group) => {
        const { x, y, width, height } = group.querySelector('rect').getBBox();
        const far = (p, rim) => p.x < x + rim || p.x > x + width - rim || p.y < y + rim || p.y > y + height - rim;
        return points.some((point) => !far(point, 1)) && far(points[0], -1) && far(points[40], -1);
    }).map((group) => group.dataset.id);
})"""
STAGES = ['data', '▸ stem', '▸ stage1', '▸ stage2', '▸ stage3', '▸ stage4', '▸ head', 'fc1 (output)']


def test_a_click_opens_a_stage_and_another_closes_it(page_of, r50, folder):
    page = page_of(r50, 'r50')
    assert titles(page) == STAGES
    assert zoom(page) == 100
    before = page.screenshot(path=folder / 'closed.png')

    box(page, 'stage2').click()
    opened = [*STAGES[:3], '▾ stage2', '▸ stage2_unit1', '▸ residual unit × 3', *STAGES[4:]]
    assert titles(page) == opened
    assert box(page, 'stage2').get_attribute('aria-expanded') == 'true'
    assert page.screenshot(path=folder / 'opened.png') != before
    assert page.locator('#details').text_content().startswith('stage2parameters1,117,')

    box(page, 'residual unit × 3').click()
    page.keyboard.press('0')
    assert page.locator('#scene .arrow.skip').count() == 1
    box(page, 'stage2').locator('.bar').first.click()
    assert titles(page) == STAGES


def test_the_keyboard_alone_will_do(page_of, r50):
    page = page_of(r50, 'keys')
    box(page, 'data').focus()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Tab')
    focused = page.locator('g:focus')
    assert focused.get_attribute('aria-label').startswith('stage1, 3 residual units')
    page.keyboard.press('Enter')
    assert '▾ stage1' in titles(page)
    page.keyboard.press('ArrowDown')
    assert focused.get_attribute('aria-label').startswith('stage1_unit1')
    page.keyboard.press('ArrowRight')
    assert focused.get_attribute('aria-expanded') == 'true'
    page.keyboard.press('ArrowLeft')
    assert focused.get_attribute('aria-expanded') == 'false'
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('Space')
    assert titles(page) == STAGES
    page.keyboard.press('+')
    page.keyboard.press('+')
    assert zoom(page) == 156
    page.keyboard.press('/')
    page.keyboard.type('bn0')
    assert page.locator('#found').text_content() == '1 found'


def test_search_opens_what_holds_a_match_and_brings_it_into_the_window(page_of, r50):
    page = page_of(r50, 'search')
    page.fill('#search', r'^stage[34]_unit1_conv2$')
    assert page.locator('#found').text_content() == '2 found'
    assert page.locator('#scene .holds').count() == 2
    assert page.locator('#scene .hit').count() == 0
    for number in ('1 of 2', '2 of 2'):
        page.press('#search', 'Enter')
        assert page.locator('#found').text_content() == number
    hits = page.locator('#scene .hit')
    assert [hits.nth(i).locator('text').nth(1).text_content() for i in range(2)] == [
        'stage3_unit1_conv2',
        'stage4_unit1_conv2',
    ]
    seen, canvas = hits.nth(1).locator('rect').bounding_box(), page.locator('#picture').bounding_box()
    assert canvas['y'] <= seen['y'] <= canvas['y'] + canvas['height'] - seen['height']
    page.fill('#search', '(')  # no regular expression, so that it is looked for as it stands
    assert page.locator('#found').text_content() == '1 found'
    page.fill('#search', 'nowhere')
    assert page.locator('#found').text_content() == 'nothing found'
    assert page.locator('#scene .hit, #scene .holds').count() == 0


def test_the_wheel_zooms_at_the_pointer_and_a_drag_moves(page_of, r50):
    page = page_of(r50, 'mouse')
    x, y = middle(page, 'stage2')
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.getElementById('zoom').textContent !== '100 %'")
    assert zoom(page) == 182
    assert middle(page, 'stage2') == pytest.approx((x, y), abs=1)
    page.mouse.down()
    page.mouse.move(x + 50, y - 30, steps=4)
    page.mouse.up()
    assert middle(page, 'stage2') == pytest.approx((x + 50, y - 30), abs=1)
    assert titles(page) == STAGES  # a drag is no click
    page.click('#fit')
    assert zoom(page) <= 100
    fitted = zoom(page)
    page.keyboard.press('-')
    assert zoom(page) < fitted
    page.click('#zoom-in')
    assert zoom(page) == fitted


def test_shading_follows_the_choice(page_of, r50):
    page = page_of(r50, 'shade')
    fill = box(page, 'stage1').locator('rect').get_attribute('fill')
    page.select_option('#shade', label='MACs')
    assert box(page, 'stage1').locator('rect').get_attribute('fill') != fill


def test_level_and_search_of_the_command_line(page_of, r50):
    page = page_of(r50, 'options', depth=1, search='stage3_unit2_bn1$')
    assert '▾ stage3' in titles(page)
    assert '▸ stage3_unit1' in titles(page)
    assert page.locator('#found').text_content() == '1 found'


@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_any_symbol_can_be_opened_and_nothing_overlaps(page_of, name):
    build, shapes = HAND_WRITTEN[name]
    graph = build_graph(build(), shapes, 'nested')
    assert_whole(page_of(graph, name), graph)


@pytest.mark.parametrize('preset', ['r100', 'd121', 'xception'])
def test_the_main_families_can_be_opened_and_nothing_overlaps(page_of, preset):
    graph = nested(preset)
    page = page_of(graph, preset)
    assert zoom(page) == 100
    assert_whole(page, graph)


def assert_whole(page, graph):
    """Check that, opened, every box and frame is drawn once, inside its frame and beside its neighbours."""
    page.click('#open-all')
    drawn = {found['id']: found for found in boxes(page)}
    assert sorted(drawn) == sorted([box.id for box in graph.boxes] + [group.id for group in graph.groups])
    around = {
        **{box.id: box.group for box in graph.boxes},
        **{group.id: group.parent for group in graph.groups},
    }
    assert {name: found['around'] for name, found in drawn.items()} == around
    for one in drawn.values():
        frame = drawn.get(one['around'])
        assert (
            frame is None or frame['x'] <= one['x'] <= one['x'] + one['width'] <= frame['x'] + frame['width']
        )
        assert (
            frame is None
            or frame['y'] <= one['y'] <= one['y'] + one['height'] <= frame['y'] + frame['height']
        )
        beside = [o for o in drawn.values() if o['around'] == one['around'] and o is not one]
        assert not [other['id'] for other in beside if overlap(one, other)]
    assert page.evaluate(CUT_THROUGH) == []
    texts = page.locator('#scene').text_content()
    assert all(name in texts for box in graph.boxes if box.kind == 'input' for name in box.operators)
    page.click('#close-all')
    assert page.locator('#scene .frame').count() == 0
