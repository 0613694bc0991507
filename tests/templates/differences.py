"""Where a public template gives another text here than by Hugging Face's renderer, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why templates differ, and which: the names of templates by that of the conversation."""

    why: str
    where: dict[str, tuple[str, ...]]


_NEED_TOOLS = (
    "CohereForAI-c4ai-command-r-plus-tool_use",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
)

REASONS = (
    Reason(
        "The template goes through tools or documents that were not given, which raises TypeError"
        " in Python. Here nothing has no elements, and the rest of the conversation is written.",
        {
            "documents": (
                *_NEED_TOOLS,
                "Cohere2MoE",
                "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
            ),
            "a question": _NEED_TOOLS,
            "a question and its answer": _NEED_TOOLS,
            "a system message": _NEED_TOOLS,
            "many turns": _NEED_TOOLS,
            "unicode": _NEED_TOOLS,
            "spaces around texts": _NEED_TOOLS,
            "control tokens spelled": _NEED_TOOLS,
            "empty texts": _NEED_TOOLS,
            "text in parts": _NEED_TOOLS,
            "thinking switched on": _NEED_TOOLS,
            "thinking switched off": _NEED_TOOLS,
            "thoughts of earlier turns": _NEED_TOOLS,
        },
    ),
    Reason(
        "The template writes a generator as JSON, which Python cannot do (TypeError). Here it is "
        "written as the list of its elements.",
        {
            "a tool": ("llama-cpp-deepseek-r1",),
            "tools and a system message": ("llama-cpp-deepseek-r1",),
            "a call and its result": ("llama-cpp-deepseek-r1",),
            "a call with arguments as text": ("llama-cpp-deepseek-r1",),
            "calls at once, with words": ("llama-cpp-deepseek-r1",),
            "calls one after another": ("llama-cpp-deepseek-r1",),
            "tools, documents and thinking": ("llama-cpp-deepseek-r1",),
        },
    ),
    Reason(
        "The template does not expect content in parts: in Python it raises TypeError or an "
        "exception of its own, writes the data as it stands, or leaves it out. Here such a "
        "template is given the parts joined to one text.",
        {
            "text in parts": (
                "Apertus-8B-Instruct",
                "Bielik-11B-v3.0-Instruct",
                "ByteDance-Seed-OSS",
                "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
                "GigaChat3-10B-A1.8B",
                "GigaChat3.1-10B-A1.8B",
                "HuggingFaceTB-SmolLM3-3B",
                "LFM2-8B-A1B",
                "LFM2.5-Instruct",
                "MiMo-VL",
                "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
                "NVIDIA-Nemotron-Nano-v2",
                "Qwen-QwQ-32B",
                "Qwen-Qwen2.5-7B-Instruct",
                "Qwen-Qwen3-0.6B",
                "Qwen3-Coder",
                "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
                "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
                "deepseek-ai-DeepSeek-V3.1",
                "deepseek-ai-DeepSeek-V3.2",
                "deepseek-ai-DeepSeek-V4-Flash-0731",
                "deepseek-ai-DeepSeek-V4",
                "google-gemma-2-2b-it",
                "ibm-granite-granite-3.3-2B-Instruct",
                "inclusionai-ling-3.0-flash",
                "llama-cpp-deepseek-r1",
                "llama-cpp-rwkv-world",
                "meetkai-functionary-medium-v3.1",
                "meetkai-functionary-medium-v3.2",
                "meta-llama-Llama-3.1-8B-Instruct",
                "meta-llama-Llama-3.2-3B-Instruct",
                "meta-llama-Llama-3.3-70B-Instruct",
                "microsoft-Phi-3.5-mini-instruct",
                "mistralai-Mistral-Nemo-Instruct-2407",
                "openai-gpt-oss-120b",
                "openbmb-MiniCPM5-1B",
                "poolside-Laguna-S-2.1",
                "poolside-Laguna-XS-2.1",
                "poolside-Laguna-XS.2",
                "upstage-Solar-Open-100B",
            ),
        },
    ),
    Reason(
        "The template adds JSON to text that it has marked as safe, and Jinja2 then escapes it "
        "for HTML. Nothing is escaped here: no model was trained on that.",
        {
            "a tool": ("meetkai-functionary-medium-v3.1",),
            "tools and a system message": ("meetkai-functionary-medium-v3.1",),
            "a call and its result": ("meetkai-functionary-medium-v3.1",),
            "a call with arguments as text": ("meetkai-functionary-medium-v3.1",),
            "calls at once, with words": ("meetkai-functionary-medium-v3.1",),
            "calls one after another": ("meetkai-functionary-medium-v3.1",),
            "tools, documents and thinking": ("meetkai-functionary-medium-v3.1",),
        },
    ),
    Reason(
        "A call comes without content, which the template does not expect: in Python it raises "
        "TypeError or UndefinedError. Here such a template is given an empty text.",
        {
            "a call with arguments as text": (
                "Bielik-11B-v3.0-Instruct",
                "Qwen-QwQ-32B",
                "Qwen-Qwen3-0.6B",
                "ibm-granite-granite-3.3-2B-Instruct",
                "microsoft-Phi-3.5-mini-instruct",
                "mistralai-Ministral-3-14B-Reasoning-2512",
                "openai-gpt-oss-120b",
                "unsloth-mistral-Devstral-Small-2507",
            ),
        },
    ),
)
