"""/login and /logout: a key for a cookie, and back."""

from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from streams.web.access.access import Access
from streams.web.access.audit import note
from streams.web.access.principal import principal_of
from streams.web.access.session import make_session, set_cookie
from streams.web.problems import ProblemError

FORM = "application/x-www-form-urlencoded"
"""Media type of what a form sends."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page has a form and no script at all."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Log in · DECICE twin</title>
<style>
:root {{ color-scheme: light dark; --back: #f6f8fa; --card: #fff; --edge: #dfe4e9; --text: #1c2730; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #12181e; --card: #1b242c; --edge: #34404b; --text: #e6ebf0; }}
}}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0; background: var(--back); color: var(--text); }}
body {{ display: grid; place-items: center; min-height: 92vh; }}
form {{ width: min(22rem, 80vw); padding: 2rem; background: var(--card); }}
form {{ border: 1px solid var(--edge); border-radius: .6rem; }}
h1 {{ font-size: 1.3rem; margin: 0 0 1.2rem; }}
label {{ display: block; }}
small {{ display: block; opacity: .7; margin-top: 1rem; }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .55rem; }}
input, button {{ border-radius: .35rem; }}
input {{ margin: .3rem 0 1rem; border: 1px solid var(--edge); background: var(--back); color: inherit; }}
button {{ border: 0; background: #1f3a4d; color: #fff; cursor: pointer; }}
p[role=alert] {{ border-left: .25rem solid #d33; padding-left: .7rem; }}
</style></head>
<body><form method="post" action="/login">
<h1>DECICE twin</h1>{message}
<input type="hidden" name="next" value="{next}">
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus maxlength="500">
<button>Log in</button>
<small>Who runs this twin makes keys with <code>twin key</code>.</small>
</form></body></html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def get_login(request: Request, next: Annotated[str, Query(max_length=8_000)] = "/") -> Response:
    """The form; who needs no key, or has shown one, goes on at once."""
    if principal_of(request).way in ("local", "session"):
        return _go_to(next)
    return _page(next)


@router.post("/login")
async def post_login(request: Request) -> Response:
    """Give a cookie for a key."""
    access: Access = request.app.state.access
    if access.config.is_open:
        return _go_to("/")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise ProblemError(415, "unsupported-media-type", f"send {FORM}", field="Content-Type")
    try:
        form = parse_qs((await request.body()).decode(), max_num_fields=10)
    except ValueError:
        raise ProblemError(422, "invalid-form", "the body is not that of the form", field="body") from None
    next = form.get("next", ["/"])[0]
    text = form.get("key", [""])[0].strip()
    try:
        principal = access.keys.principal(text, "the form")
    except ProblemError as error:
        is_over = error.document["type"].endswith("expired-key")
        return _page(next, "This key has expired." if is_over else "This is no key that is known here.", 401)
    key = access.keys.named(principal.name)
    if key is None:
        raise RuntimeError(f"the key {principal.name} is gone")
    note(request, login=principal.name)
    return _go_to(next, set_cookie(make_session(key, text, access.now_s()), is_secure=_is_secure(request)))


@router.post("/logout")
async def post_logout(request: Request) -> Response:
    """Take the cookie away."""
    return _go_to("/login", set_cookie("", is_secure=_is_secure(request)))


def local_path(text: str) -> str:
    """A place of this site, or its beginning: a link must not lead elsewhere by way of the login."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if is_local and "\\" not in text else "/"


def _go_to(place: str, cookie: str | None = None) -> Response:
    headers = {"Cache-Control": "no-store"} | ({"Set-Cookie": cookie} if cookie else {})
    return RedirectResponse(local_path(place), 303, headers=headers)


def _page(next: str, message: str = "", status: int = 200) -> Response:
    shown = f'<p role="alert">{escape(message)}</p>' if message else ""
    return HTMLResponse(
        PAGE.format(message=shown, next=escape(local_path(next))),
        status,
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"},
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
