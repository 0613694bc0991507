"""A web server that streams answers. The event loop never waits for the model, and who leaves cancels.

Run: python examples/fastapi_server.py [PORT] [MODEL.gguf]   then open http://127.0.0.1:8000/ask?question=hello
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import tabagent_model
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
path = sys.argv[2] if len(sys.argv) > 2 else BUILT_IN

model = tabagent_model.PyModel()


@asynccontextmanager
async def loaded(_: FastAPI) -> AsyncIterator[None]:
    """The model, as long as the server runs."""
    model.load(tabagent_model.get_optimal_binary("libllama.so"), path)
    yield
    model.unload()


app = FastAPI(lifespan=loaded)


@app.get("/ask")
async def ask(question: str) -> StreamingResponse:
    """Answer a question, piece by piece."""
    pieces = model.astream_chat([{"role": "user", "content": question}], max_tokens=64)
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8")


@app.get("/continue")
async def continued(prompt: str) -> dict[str, str]:
    """Continue a prompt, and answer once it is done."""
    return {"text": await model.agenerate(prompt, max_tokens=24)}


uvicorn.run(app, port=port)
