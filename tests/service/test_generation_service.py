"""`generate` and `chat` over a real worker process whose backend is a fake
(tests/workers/fake_backend_worker.py).
"""

from __future__ import annotations

import asyncio
import time

import pytest

from native_host.models.manager import ModelManager
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import (
    ApplyTemplateParams,
    ChatMessage,
    ChatParams,
    DetokenizeParams,
    GenerateParams,
    GenerateResult,
    TokenizeParams,
)
from native_host.service import Service

from .recording import RecordingContext


async def generate(service: Service, context: RecordingContext, params: GenerateParams) -> GenerateResult:
    answer = await service.handle("generate", params, context)
    assert isinstance(answer, GenerateResult)
    return answer


async def test_streamed_pieces_join_to_the_text(service: Service) -> None:
    context = RecordingContext()
    answer = await generate(service, context, GenerateParams(prompt="one two three", stream=True, seed=5))
    assert answer.text == "3 2 1 "
    assert "".join(text for text, _ in context.pieces) == answer.text
    assert {index for _, index in context.pieces} == {None}
    assert (answer.model, answer.finish_reason, answer.seed) == ("fine", "stop", 5)
    assert (answer.timings.load_ms or 0) > 0
    assert context.fractions[-1] == 1.0


async def test_nothing_is_streamed_unasked_and_a_loaded_model_reports_no_load(service: Service) -> None:
    await generate(service, RecordingContext(), GenerateParams(prompt="one"))
    context = RecordingContext()
    answer = await generate(service, context, GenerateParams(prompt="one two"))
    assert (context.pieces, context.fractions, answer.timings.load_ms) == ([], [], 0.0)
    assert context.partial.text == answer.text


async def test_several_prompts_are_streamed_by_index(service: Service) -> None:
    context = RecordingContext()
    answer = await generate(service, context, GenerateParams(prompts=["a", "a b", "a b c"], stream=True))
    assert answer.text is None
    assert [each.text for each in answer.texts or []] == ["1 ", "2 1 ", "3 2 1 "]
    for index, each in enumerate(answer.texts or []):
        assert "".join(text for text, at in context.pieces if at == index) == each.text


async def test_one_failing_prompt_of_several_ends_them_all(service: Service) -> None:
    with pytest.raises(RpcError) as caught:
        await generate(service, RecordingContext(), GenerateParams(prompts=["forever", "die"]))
    assert caught.value.kind == "worker_crashed"


async def test_two_workers_that_die_of_a_request_are_two_attempts(service: Service) -> None:
    with pytest.raises(RpcError, match=r"SIGKILL.*\(attempts: 2\)") as caught:
        await generate(service, RecordingContext(), GenerateParams(prompt="die unbegun"))
    assert (caught.value.kind, caught.value.data["attempts"]) == ("worker_crashed", 2)


async def test_chat(service: Service) -> None:
    params = ChatParams(messages=[ChatMessage(role="user", content="four words right here")])
    answer = await service.handle(
        "models.apply_template", ApplyTemplateParams(params.messages), RecordingContext()
    )
    assert answer is not None
    assert "four words" in str(answer)


async def test_switches_cannot_be_parameters(service: Service) -> None:
    messages = [ChatMessage(role="user", content="hi")]
    params = ApplyTemplateParams(messages, chat_template_kwargs={"tools": []})
    with pytest.raises(RpcError) as caught:
        await service.handle("models.apply_template", params, RecordingContext())
    assert (caught.value.kind, caught.value.data["path"]) == ("invalid_params", "chat_template_kwargs.tools")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        (GenerateParams(), "prompt"),
        (GenerateParams(prompt=""), "prompt"),
        (GenerateParams(prompt=[]), "prompt"),
        (GenerateParams(prompts=[]), "prompts"),
        (GenerateParams(prompts=["a", ""]), "prompts[1]"),
        (GenerateParams(prompts=["a"] * 65), "prompts"),
        (GenerateParams(prompt="a", prompts=["a"]), "prompts"),
    ],
)
async def test_bad_prompts(service: Service, params: GenerateParams, path: str) -> None:
    with pytest.raises(RpcError) as caught:
        await generate(service, RecordingContext(), params)
    assert (caught.value.kind, caught.value.data["path"]) == ("invalid_params", path)


async def test_partial_is_current_while_it_generates(service: Service) -> None:
    context = RecordingContext()
    task = asyncio.create_task(generate(service, context, GenerateParams(prompt="forever", stream=True)))
    await context.first.wait()
    assert (context.partial.text or "").startswith("-1 ")
    assert context.partial.usage is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_forced_unload_answers_cancelled_with_what_there_is(
    service: Service, manager: ModelManager
) -> None:
    context = RecordingContext()
    task = asyncio.create_task(generate(service, context, GenerateParams(prompt="forever", stream=True)))
    await context.first.wait()
    await manager.unload("fine", force=True)
    with pytest.raises(RpcError) as caught:
        await task
    assert caught.value.kind == "cancelled"
    assert (context.partial.text or "").startswith("-1 ")


async def test_partial_keeps_the_texts_of_several_prompts_apart(service: Service) -> None:
    context = RecordingContext()
    await generate(service, context, GenerateParams(prompts=["one", "one two"]))
    assert (context.partial.text, context.partial.texts) == (None, ["1 ", "2 1 "])
    assert context.partial.told()["texts"] == ["1 ", "2 1 "]


async def test_text_work(service: Service) -> None:
    context = RecordingContext()
    tokens = await service.handle("tokenize", TokenizeParams(text="hi"), context)
    assert "104, 105" in str(tokens)
    text = await service.handle("detokenize", DetokenizeParams(tokens=[104, 105]), context)
    assert "'hi'" in str(text)


async def test_a_worker_is_told_how_long_the_answer_is_waited_for(service: Service) -> None:
    context = RecordingContext()
    assert (await generate(service, context, GenerateParams(prompt="time left"))).text == "None"
    context.deadline = time.monotonic() + 600
    answer = await generate(service, context, GenerateParams(prompt="time left"))
    assert 500 < float(answer.text or "0") <= 600
    context.deadline = time.monotonic() - 1
    with pytest.raises(RpcError) as caught:
        await generate(service, context, GenerateParams(prompt="time left"))
    assert caught.value.kind == "timeout"
