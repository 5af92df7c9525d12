"""What every answer tells a browser to be careful about."""

from starlette.datastructures import MutableHeaders

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Data is never a page: nothing in it is loaded or run."""

PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        # The pages' framework has scripts in the page and compiles templates in the browser.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Pages load nothing from elsewhere, send nothing elsewhere, and stand in nobody's frame."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""With everything."""


def secure(headers: MutableHeaders) -> None:
    """Add what an answer has not said itself, and take away what says which software this is."""
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    is_page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else API_POLICY)
    for name in ("server", "x-powered-by"):
        if name in headers:
            del headers[name]
