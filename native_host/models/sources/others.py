"""The programs whose downloads can be taken over, and where each keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from native_host.models.sources import folder, hub_cache, lm_studio, ollama_store
from native_host.models.sources.found import FoundModel


class Other(msgspec.Struct, frozen=True):
    """A program: `folders` are the places to look in, `find` reads one of them; `hint` is how to name
    another."""

    name: str
    folders: Callable[[], list[Path]]
    find: Callable[[Path], list[FoundModel]]
    hint: str


OTHERS = {
    "ollama": Other("Ollama", ollama_store.folders, ollama_store.find, "OLLAMA_MODELS names another"),
    "lmstudio": Other("LM Studio", lm_studio.folders, lm_studio.find, "give the folder's path instead"),
    "huggingface": Other("Hugging Face", hub_cache.folders, hub_cache.find, "HF_HOME names another"),
}


def look(origin: str) -> list[FoundModel]:
    """The models of a program, or of a folder given by its absolute path.

    Raises FileNotFoundError, whose text says where was looked.
    """
    other = OTHERS.get(origin)
    if other is None:
        top = Path(origin).expanduser()
        if not top.is_absolute() or not top.is_dir():
            raise FileNotFoundError(f"{origin!r} is no folder, and none of {', '.join(OTHERS)}")
        return folder.models_in(top)
    places = [place for place in other.folders() if place.is_dir()]
    if not places:
        looked = ", ".join(str(place) for place in other.folders())
        raise FileNotFoundError(f"there are no models of {other.name} at {looked}; {other.hint}")
    return [model for place in places for model in other.find(place)]
