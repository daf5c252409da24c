"""The HTML layout of the sandbox's pages, which also fits a phone screen."""

from html import escape

from aiohttp import web

PAGE_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto }
body { padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top }
td, th { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere }
code { font-size: .95em; overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .5rem .75rem }
form { max-width: 30rem }
label { display: block; margin: .5rem 0 }
input:not([type=checkbox]), textarea { display: block; width: 100%; box-sizing: border-box }
input, textarea, button { font: inherit; padding: .3rem .5rem }
button { padding: .4rem 1.25rem }
.forms { display: grid; gap: 0 3rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)) }
.checks td:first-child, .responses td:first-child { width: 4rem }
.checks td:nth-child(2) { width: 7rem }
.ok { color: #2a8a3e } .warn { color: #b07a00 } .fail { color: #d0342c; font-weight: 700 }
@media (max-width: 40rem) {
  .videos tr { display: block; padding: .6rem 0; border-bottom: 1px solid #8884 }
  .videos td { display: block; border: 0; padding: 0 }
  .videos th { display: none }
}
"""


def build_page(title: str, body: str, *, status: int = 200) -> web.Response:
    """Build an HTML page of the sandbox around a body."""
    return web.Response(
        text=(
            "<!doctype html><html lang='en'><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            "<meta name='referrer' content='no-referrer'>"
            f"<title>{escape(title)}</title><link rel='icon' href='data:,'>"
            f"<style>{PAGE_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
        ),
        content_type="text/html",
        status=status,
    )
