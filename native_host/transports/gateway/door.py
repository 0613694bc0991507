"""What every request passes before any route and what every answer passes on its way out: addresses, Host and
Origin, the limit of an address, CORS, and the headers that keep browsers careful.

Knows no route, and no key: who asks is `authentication`'s matter.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from native_host.guard.addresses import Address, AddressRefused, AddressRules, counted_as
from native_host.guard.limits import Standing
from native_host.guard.origins import OriginRefused, OriginRules
from native_host.http_address import HttpAddress
from native_host.network_names import ANY_ORIGIN, parse_hosts, parse_networks, parse_origins
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.settings import Settings
from native_host.transports.daemon import CannotServeError
from native_host.transports.gateway.dialects import OWN, refusal
from native_host.transports.host import Host

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

CAREFUL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""For answers whose route says nothing else. Pages bring a policy of their own."""

_ADDED = [(name.encode(), value.encode()) for name, value in CAREFUL.items()]
_ADDED.append((b"cache-control", b"no-store"))

EXPOSED = ("retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-request-id")
"""What scripts of other pages may read of an answer."""


class Door:
    """The application behind what keeps strangers out. Raises CannotServeError for rules that would let in
    everybody.
    """

    def __init__(self, app: ASGIApp, host: Host, address: HttpAddress) -> None:
        settings = host.settings
        origins = parse_origins(settings.cors_origins)
        if ANY_ORIGIN in origins and settings.open_loopback:
            raise CannotServeError(
                "--open-loopback and * among NATIVE_HOST_CORS_ORIGINS let in every page without a key"
            )
        self._addresses = _address_rules(settings)
        self._origins = OriginRules(
            address.host, parse_hosts(settings.allowed_hosts), origins, ANY_ORIGIN in origins
        )
        self._limits = host.limits
        self._log = host.log
        self._app = _with_cors(app, origins) if origins else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request or WebSocket."""
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        careful = _Careful(state, send)
        try:
            state["client_address"] = address = self._checked(scope, headers)
            state["standing"] = await self._limits.admit_address(counted_as(address))
        except RpcError as error:
            self._log.warning("http.refused", path=scope["path"], kind=error.kind, reason=error.message)
            state["standing"] = standing_of(error)
            await refusal(error, OWN)(scope, receive, careful.send)
            return
        await self._app(scope, receive, careful.send)

    def _checked(self, scope: Scope, headers: Headers) -> Address:
        """Where the request comes from. Raises permission_denied."""
        try:
            client = scope.get("client")
            address = self._addresses.client(client[0] if client else "", headers.getlist("x-forwarded-for"))
            self._addresses.check(address)
        except AddressRefused as error:
            raise errors.permission_denied("address", str(error)) from None
        try:
            host = self._origins.check_host(headers.getlist("host"))
            method = scope.get("method", "WEBSOCKET")
            origins = headers.getlist("origin")
            self._origins.check_origin(origins, host, method, headers.get("sec-fetch-site"))
        except OriginRefused as error:
            raise errors.permission_denied("origin", str(error)) from None
        return address


def standing_of(error: RpcError) -> Standing | None:
    """How the limit stands that an error is about."""
    limit, retry_after_s = error.data.get("limit"), error.data.get("retry_after_s")
    if error.kind != "rate_limited" or limit is None or retry_after_s is None:
        return None
    return Standing(limit, 0, retry_after_s)


class _Careful:
    """Adds headers to the answer as it goes out."""

    def __init__(self, state: dict[str, object], send: Send) -> None:
        self._state = state
        self._send = send

    async def send(self, message: Message) -> None:
        """The next part of the answer."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            present = {name for name, _ in message["headers"]}
            missing = [each for each in _ADDED if each[0] not in present]
            message["headers"] = [*message["headers"], *missing]
            standing = self._state.get("standing")
            if isinstance(standing, Standing):
                headers = MutableHeaders(scope=message)
                headers["ratelimit-policy"] = f"{standing.limit};w={standing.window_s}"
                headers["ratelimit-limit"] = str(standing.limit)
                headers["ratelimit-remaining"] = str(standing.remaining)
                headers["ratelimit-reset"] = str(max(1, round(standing.reset_s)))
        await self._send(message)


def _address_rules(settings: Settings) -> AddressRules:
    return AddressRules(
        parse_networks(settings.allowed_addresses),
        parse_networks(settings.denied_addresses),
        parse_networks(settings.trusted_proxies),
    )


def _with_cors(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Never with credentials: there are no cookies here, and keys are headers that a page must set itself."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=("*",),
        allow_credentials=False,
        allow_private_network=True,
        expose_headers=EXPOSED,
    )
