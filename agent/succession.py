"""Who is to serve by the registry, and what is done about a model that is refused there."""

from __future__ import annotations

from dataclasses import dataclass

from models.artifact import ArtifactRefused, LoadedModel, load
from models.registry import Registry, RegistryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who is to serve, and what the operator must know about it."""

    champion: LoadedModel
    challenger: LoadedModel | None
    notices: tuple[str, ...]


def chosen(registry: Registry, kept: LoadedModel) -> Chosen:
    """Read the registry; whatever is refused there leaves the last good model in charge."""
    notices: list[str] = []
    champion, challenger = kept, None
    try:
        folder = registry.champion()
        if folder.name != kept.model_hash.hex():
            champion = load(folder)
            notices.append(f"model {folder.name[:12]} is in charge now")
    except (ArtifactRefused, RegistryError) as fault:
        notices.append(
            f"model {kept.model_hash.hex()[:12]} stays in charge: {type(fault).__name__}: {fault}"
        )
    try:
        shadow = registry.challenger()
        challenger = None if shadow is None else load(shadow)
    except (ArtifactRefused, RegistryError) as fault:
        notices.append(f"no challenger: {type(fault).__name__}: {fault}")
    return Chosen(champion=champion, challenger=challenger, notices=tuple(notices))


def first_of(registry: Registry) -> tuple[LoadedModel, tuple[str, ...]]:
    """Open the champion, or the newest before it that verifies; say what was refused.

    Raises
    ------
    ArtifactRefused
        When not even the shipped model can be opened.
    """
    notices: list[str] = []
    folders = registry.succession()
    for folder in folders[:-1]:
        try:
            return load(folder), tuple(notices)
        except ArtifactRefused as fault:
            notices.append(f"{type(fault).__name__}: {fault}; the model before it is in charge")
    return load(folders[-1]), tuple(notices)
