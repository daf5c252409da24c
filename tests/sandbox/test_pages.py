"""The sandbox's pages in a browser: they fit a phone screen, and their forms work."""

import re

import aiohttp
import pytest
from support import build_settings_for

from proxy.cli.demo_tools import DemoEdge


@pytest.fixture
def index(sandbox, edge) -> str:
    """Return the address of an index with an edge in front of the sandbox."""
    public = {"public_url": edge.player, "listen": "127.0.0.1:0"}
    sandbox.edge = DemoEdge(build_settings_for(sandbox, web=public), edge.edge.apps)
    return f"{sandbox.origin}/"


async def fits_screen(page) -> bool:
    return await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 1280])
async def test_every_column_of_the_index_fits_the_screen(page, index, width):
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(index)

    assert await fits_screen(page)
    for cell in await page.locator(".videos td").all():
        box = await cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert await page.locator(".videos td").count() % 3 == 0


async def test_a_token_can_be_minted_played_and_explained(page, index, edge):
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto(index)
    mint = page.locator("form[action='/mint']")
    await mint.locator("[name=ttl]").fill("60")
    await mint.locator("[name=ip]").fill("127.0.0.0/8")
    await mint.locator("button").click()
    assert "expires in 60 seconds" in await page.locator("body").inner_text()
    assert await fits_screen(page)
    play_url = await page.locator("pre").first.inner_text()
    assert (await edge.get(play_url)).status == 302

    await page.locator("form[action='/explain'] button").click()
    text = await page.locator("body").inner_text()
    assert "The edge accepts this token" in text and await fits_screen(page)
    assert re.search(r"exp +(\S+ )?\d\d:\d\d:\d\d \(in (1 minute|\d+ seconds)\)", text)

    explain = page.locator("form[action='/explain']")
    await explain.locator("[name=ip]").fill("10.0.0.1")
    await explain.locator("button").click()
    text = await page.locator("body").inner_text()
    assert "The edge refuses the play with 403 token-network" in text
    assert await page.locator(".fail").inner_text() == "fail"


@pytest.mark.parametrize(
    ("form", "field", "value", "message"),
    [
        ("mint", "video", "../etc", "is not a video ID"),
        ("mint", "ttl", "soon", "lifetime must be a whole number of seconds"),
        ("mint", "ttl", "999999", "tokens.max_ttl"),
        ("mint", "ttl", "9" * 5000, "lifetime must be a whole number of seconds"),
        ("mint", "ttl", "\u0663", "lifetime must be a whole number of seconds"),
        ("explain", "token", "http://[/x", "token-malformed"),
        ("mint", "ip", "here", "neither an address nor a network"),
        ("explain", "ip", "here", "is not an IP address"),
        ("explain", "token", "<script>alert(1)</script>", "token-missing"),
    ],
)
async def test_a_form_reports_an_invalid_value(page, index, *, form, field, value, message):
    await page.goto(index)
    locator = page.locator(f"form[action='/{form}']")
    if form == "explain":
        await locator.locator("[name=token]").fill("x")
    await locator.locator(f"[name={field}]").fill(value)
    await locator.locator("button").click()

    assert message in await page.locator("body").inner_text()
    assert await page.locator("script").count() == 0


async def test_binding_on_first_use_can_be_turned_on_and_off(page, index, edge):
    for is_on in (True, False):
        await page.goto(index)
        mint = page.locator("form[action='/mint']")
        await mint.locator("[name=bind_on_first_use]").set_checked(is_on)
        await mint.locator("button").click()
        url = await page.locator("pre").first.inner_text()
        assert (await edge.get(url, source="127.0.0.5")).status == 302
        elsewhere = await edge.get(url, source="127.0.9.5")
        assert elsewhere.reason == ("token-used-elsewhere" if is_on else None)
        explain = page.locator("form[action='/explain']")
        await explain.locator("[name=ip]").fill("127.0.9.5")
        await explain.locator("button").click()
        text = await page.locator("body").inner_text()
        assert (
            "The edge refuses the play with 403 token-used-elsewhere"
            if is_on
            else "The edge accepts this token"
        ) in text


async def test_a_refused_form_does_not_change_the_setting(page, index, sandbox):
    for is_on in (False, True):
        sandbox.edge.bind_on_first_use(is_on=is_on)
        await page.goto(index)
        mint = page.locator("form[action='/mint']")
        await mint.locator("[name=bind_on_first_use]").set_checked(not is_on)
        await mint.locator("[name=video]").fill("x8 dmo")
        await mint.locator("button").click()
        assert "is not a video ID" in await page.locator("body").inner_text()
        assert sandbox.edge.binds_on_first_use() == is_on


async def test_a_json_request_is_referred_to_the_edges_api(index):
    async with aiohttp.ClientSession() as session:
        for form in ("mint", "explain"):
            async with session.post(f"{index}{form}", json={"video": "x8demo1"}) as response:
                assert response.status == 415
                assert "POST /tokens" in await response.text()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\n\r\nx"),
        ("application/x-www-form-urlencoded; charset=foo", b"video=x8demo1"),
        ("application/x-www-form-urlencoded", b"video=\xff"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"v"),
    ],
)
async def test_a_malformed_form_is_refused(index, content_type, body):
    async with aiohttp.ClientSession() as session:
        for form in ("mint", "explain"):
            headers = {"Content-Type": content_type}
            async with session.post(f"{index}{form}", data=body, headers=headers) as response:
                assert response.status == 400, await response.text()


@pytest.mark.parametrize(
    ("port", "route"), [("player", "/play/{video_id}.m3u8"), ("operator", "/tokens")]
)
async def test_the_openapi_document_of_a_port_is_shown_as_a_page(page, index, port, route):
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto(f"{index}api/{port}")

    text = await page.locator("body").inner_text()
    assert route in text and await fits_screen(page)
    assert await page.locator("section").count() > 5


async def test_without_an_edge_the_index_has_no_forms(page, sandbox):
    await page.goto(f"{sandbox.origin}/")

    assert await page.locator("form").count() == 0
    assert (await page.goto(f"{sandbox.origin}/api/player")).status == 404
