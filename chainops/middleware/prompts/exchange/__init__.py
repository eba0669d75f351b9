"""Prompts from and to other people's forms: LangChain, LangSmith, Langfuse, Prompty."""

from chainops.middleware.prompts.exchange.from_langchain import from_langchain
from chainops.middleware.prompts.exchange.imports import FORMS, Imported, import_prompt
from chainops.middleware.prompts.exchange.to_langchain import to_langchain

__all__ = ["FORMS", "Imported", "from_langchain", "import_prompt", "to_langchain"]
