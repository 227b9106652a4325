"""Import this before asyncio: it lets asyncio come without TLS, which nothing here asks it for.

asyncio imports `ssl` where that can be imported, and `ssl` loads OpenSSL: 5 MB of a daemon's 35. What speaks TLS (httpx for
webhooks and feeds, smtplib) imports `ssl` itself when it is used, and does not go through asyncio's.
"""

import sys

if "asyncio" not in sys.modules and "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # as on a Python without OpenSSL: the import fails
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]
