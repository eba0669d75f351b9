"""The ways in: LangGraph graphs, chat models, tools and retrievers, each bound to the pipeline."""
