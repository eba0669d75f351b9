"""The model of the application. Here the small one that chainops ships; yours stays what it is."""

from langchain_core.language_models import BaseChatModel

from chainops.engines.llama import ChatLlama
from chainops.store.shipped import shipped


def make_model() -> BaseChatModel:
    """A LangChain chat model: ``ChatOpenAI(...)``, ``ChatOllama(...)``, any."""
    return ChatLlama(model_path=str(shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"))
