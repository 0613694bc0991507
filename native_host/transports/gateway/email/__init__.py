"""`POST /api/v1/email` and `/api/v1/email/batch`: an e-mail in, a model's reply out as a message that can be
sent as it stands. Nothing is fetched or sent here: that is the caller's mail program's business.
"""

from native_host.transports.gateway.email.routes import router

__all__ = ["router"]
