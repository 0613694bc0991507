"""`POST /api/v1/webhooks/telegram`: a bot of Telegram's whose conversations are sessions of this host.

Telegram sends an update and takes one call of its Bot API as the answer. It waits for 60 s, then sends the
update again, and it sends the next update of a chat once the last one is answered. So an update is worked on
whether or not Telegram still waits, and whoever asks again for it gets the answer.
"""

from native_host.transports.gateway.telegram.webhook import router

__all__ = ["router"]
