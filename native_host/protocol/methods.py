"""Every method of the contract that this release answers: its types, its scope, and a line about it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from native_host.protocol import messages as m


class Method(Struct, frozen=True, kw_only=True):
    """`result` is a type that msgspec knows, None for a method answered with null. `scope` is None where
    everyone who may speak at all may call it. `before_initialize`: answered before the handshake too."""

    name: str
    params: type[m.Params]
    result: Any
    summary: str
    scope: str | None = None
    before_initialize: bool = False


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="initialize",
            params=m.InitializeParams,
            result=m.InitializeResult,
            before_initialize=True,
            summary="Agree on the protocol's version and exchange limits. The first request of a connection.",
        ),
        Method(
            name="authenticate",
            params=m.AuthenticateParams,
            result=m.AuthenticateResult,
            summary="Prove knowledge of the shared secret, or give an API key.",
        ),
        Method(
            name="ping",
            params=m.NoParams,
            result=m.PingResult,
            before_initialize=True,
            summary="Answer at once.",
        ),
        Method(
            name="health",
            params=m.NoParams,
            result=m.HealthResult,
            before_initialize=True,
            summary="Say whether all is well.",
        ),
        Method(
            name="shutdown",
            params=m.NoParams,
            result=None,
            summary="Take no more requests; the notification `exit` then ends the host, or the connection.",
        ),
        Method(name="rpc.discover", params=m.NoParams, result=dict[str, Any], summary="This document."),
        Method(
            name="generate",
            params=m.GenerateParams,
            result=m.GenerateResult,
            scope="infer",
            summary="Continue a prompt, or several.",
        ),
        Method(
            name="chat",
            params=m.ChatParams,
            result=m.ChatResult,
            scope="infer",
            summary="Answer a conversation, by the model's own chat template.",
        ),
        Method(
            name="streams.resume",
            params=m.StreamsResumeParams,
            result=dict[str, Any],
            scope="infer",
            summary="Take up a stream whose connection was lost; answered as the request that began it.",
        ),
        Method(
            name="sessions.create",
            params=m.SessionsCreateParams,
            result=m.SessionsCreateResult,
            scope="infer",
            summary="Begin a conversation that the host keeps.",
        ),
        Method(
            name="sessions.get",
            params=m.SessionParams,
            result=m.SessionsGetResult,
            scope="infer",
            summary="What was said in a session.",
        ),
        Method(
            name="sessions.list",
            params=m.NoParams,
            result=m.SessionsListResult,
            scope="infer",
            summary="One's own sessions, the least recently used first.",
        ),
        Method(
            name="sessions.delete",
            params=m.SessionParams,
            result=None,
            scope="infer",
            summary="Forget a session.",
        ),
        Method(
            name="embed",
            params=m.EmbedParams,
            result=m.EmbedResult,
            scope="infer",
            summary="Texts to vectors.",
        ),
        Method(
            name="rerank",
            params=m.RerankParams,
            result=m.RerankResult,
            scope="infer",
            summary="Order documents by how well they answer a query.",
        ),
        Method(
            name="tokenize",
            params=m.TokenizeParams,
            result=m.TokenizeResult,
            scope="infer",
            summary="Text to token ids.",
        ),
        Method(
            name="detokenize",
            params=m.DetokenizeParams,
            result=m.DetokenizeResult,
            scope="infer",
            summary="Token ids to text.",
        ),
        Method(
            name="models.list",
            params=m.NoParams,
            result=m.ModelsListResult,
            scope="models.read",
            summary="The registry's models and their state.",
        ),
        Method(
            name="models.inspect",
            params=m.ModelsInspectParams,
            result=m.ModelInspection,
            scope="models.read",
            summary="What a model's file says about itself.",
        ),
        Method(
            name="models.estimate",
            params=m.ModelsEstimateParams,
            result=m.ModelsEstimateResult,
            scope="models.read",
            summary="How much memory a model would take, without loading it.",
        ),
        Method(
            name="models.load",
            params=m.ModelsLoadParams,
            result=m.ModelsLoadResult,
            scope="models.load",
            summary="Load a model before it is needed.",
        ),
        Method(
            name="models.unload",
            params=m.ModelsUnloadParams,
            result=None,
            scope="models.write",
            summary="Give a model's memory back.",
        ),
        Method(
            name="models.pull",
            params=m.ModelsPullParams,
            result=m.ModelsPullResult,
            scope="models.write",
            summary="Fetch a model, check it, and add it to the user's models.json.",
        ),
        Method(
            name="models.import",
            params=m.ModelsImportParams,
            result=m.ModelsImportResult,
            scope="models.write",
            summary="Take over what other programs have downloaded, where it lies.",
        ),
        Method(
            name="models.delete",
            params=m.ModelsDeleteParams,
            result=m.ModelsDeleteResult,
            scope="models.write",
            summary="Forget a model, and remove its files if a pull brought them.",
        ),
        Method(
            name="models.recommend",
            params=m.ModelsRecommendParams,
            result=m.ModelsRecommendResult,
            scope="models.read",
            summary="What fits this machine, and how fast it would be.",
        ),
        Method(
            name="models.apply_template",
            params=m.ApplyTemplateParams,
            result=m.ApplyTemplateResult,
            scope="infer",
            summary="The prompt that a model's chat template makes of a conversation.",
        ),
        Method(
            name="hardware.info",
            params=m.NoParams,
            result=m.HardwareInfoResult,
            scope="system",
            summary="This machine, its CPU variant, and the runtime chosen for it.",
        ),
        Method(
            name="metrics",
            params=m.NoParams,
            result=str,
            scope="system",
            summary="What is counted, as Prometheus text.",
        ),
    )
}

CLIENT_NOTIFICATIONS = ("$/cancelRequest", "exit")
HOST_NOTIFICATIONS = ("$/stream", "$/progress", "$/chunk")
