"""What outlives a prompt, on LangGraph's ``BaseStore``: facts about people, and old turns of a conversation."""

from chainops.memory.facts import Fact, Memories, NoConsent
from chainops.memory.turns import Turns

__all__ = ["Fact", "Memories", "NoConsent", "Turns"]
