"""Refusals are HTML pages only for clients that prefer text/html, and JSON for all others."""

import pytest

from proxy.domain.reasons import Reason, Refusal
from proxy.web.problem_details import build_problem_page, prefers_html


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            True,
        ),  # Chromium
        ("text/html, application/xhtml+xml;q=0.9, */*;q=0.8", True),
        ("TEXT/HTML", True),
        ("text/html;q=0.5, application/json;q=0.1", True),
        ("text/html;q=0.5, application/problem+json", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("text/html;charset=utf-8;q=0.2", True),
        ("*/*", False),  # players, curl
        ("text/*", False),
        ("", False),
        ("application/json, text/plain, */*", False),
        ("text/htmlx", False),
    ],
)
def test_only_an_accept_header_that_prefers_html_gets_a_page(accept, is_page):
    assert prefers_html(accept) is is_page


def test_text_from_a_request_is_escaped_in_the_page():
    refusal = Refusal(Reason.REQUEST_INVALID, message="<script>alert(1)</script>")
    page = build_problem_page(refusal, "<b>", 400)

    assert "<script" not in page and "<b>" not in page
    assert "&lt;script&gt;" in page and "request-invalid" in page


async def test_programs_get_json_whatever_accept_header_they_send(edge):
    """Java's HttpURLConnection lists text/html first."""
    headers = {"Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}
    for url, method in (
        (f"{edge.player}/stream-urls", "GET"),
        (f"{edge.operator}/tokens", "POST"),
        (f"{edge.operator}/revocations", "GET"),
    ):
        response = await edge.get(url, method=method, headers=headers)
        assert response.headers["Content-Type"].startswith("application/problem+json"), url


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_has_the_same_status_reason_and_headers_as_the_json_response(edge, method):
    url = f"{edge.player}/play/x8demo1.m3u8"
    page = await edge.get(url, method=method, headers={"Accept": "text/html"})
    problem = await edge.get(url, method=method)

    assert (page.status, page.reason) == (problem.status, problem.reason) == (401, "token-missing")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Vary"] == problem.headers["Vary"] == "Accept"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name in ("WWW-Authenticate", "Cache-Control", "Access-Control-Allow-Origin"):
        assert page.headers[name] == problem.headers[name]
