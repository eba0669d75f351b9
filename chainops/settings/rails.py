"""``[rails]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["RailsSettings"]

Policy = Literal["monitor", "flag", "redact", "ask", "block"]


class RailsSettings(Section):
    """``[rails]``: what may be said; needs ``rails`` in ``[pipeline].middleware``, and at least one rail."""

    config: Path | None = Field(default=None, description="A NeMo Guardrails folder with a config.yml.")
    dialog: bool = Field(default=True, description="Run the folder's dialog rails, where it has any; embedder.")
    model: Path | None = Field(default=None, description="A GGUF file: what self-checks and dialog rails ask.")
    models: dict[str, Path] = Field(default_factory=dict, description="GGUF files by NeMo's type of guard model.")
    deny: tuple[str, ...] = Field(default=(), description="Words and phrases that must not occur; the rail 'deny'.")
    patterns: dict[str, str] = Field(default_factory=dict, description="Regular expressions by category: 'patterns'.")
    jailbreak: bool = Field(default=False, description="The rail 'jailbreak'; needs an embedder.")
    jailbreak_flag: float | None = Field(default=None, ge=0, le=1, description="Score to flag from; else calibrated.")
    jailbreak_block: float | None = Field(default=None, ge=0, le=1, description="Score to block from; else calibrated.")
    second_opinion: str | None = Field(
        default=None,
        description="The rail that is asked about borderline texts; else a self-check where there is a model.",
    )
    indirect_injection: bool = Field(default=False, description="The rail for tool results and documents; embedder.")
    toxicity: bool = Field(default=False, description="The stand-in 'toxicity'; better with an embedder.")
    classifiers: dict[str, Path] = Field(
        default_factory=dict, description="Folders of classifiers, by name of the rail."
    )
    canary: bool = Field(default=False, description="Mark system prompts, and refuse answers with the mark.")
    egress: bool = Field(default=False, description="Refuse links that carry data out, and secrets.")
    hosts: tuple[str, ...] | None = Field(default=None, description="Hosts that answers may link to; else any.")
    strikes: int | None = Field(default=None, ge=1, description="Refusals in an hour, then a user must wait.")
    strike_wait_s: float = Field(default=300.0, gt=0, description="Seconds to wait; twice as long each time.")
    policy: dict[str, Policy] = Field(default_factory=dict, description="By name of a rail; block for the others.")
    on_error: Literal["block", "flag"] = Field(default="block", description="What follows when a rail breaks.")
    on_block: Literal["stop", "refuse"] = Field(default="stop", description="Raise RailBlocked, or answer.")
    refusal: str = Field(default="I cannot help with that.", description="The answer in place of what was refused.")
    stream: Literal["hold", "cut", "whole"] = Field(default="hold", description="How rails that judge treat a stream.")
    fields: Literal["all", "messages"] | tuple[str, ...] = Field(
        default="all", description="Fields of a node's state that are judged beside messages."
    )
    timeout_s: float = Field(default=30.0, gt=0, description="Seconds until a rail that asks a model counts as broken.")
