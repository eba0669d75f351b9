"""chainops: async middleware around every node, model call and tool call of a LangGraph graph."""

__version__ = "0.1.0"
