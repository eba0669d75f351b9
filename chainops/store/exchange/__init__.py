"""Traces as files of other systems, both ways: LangSmith, Langfuse, Phoenix, MLflow."""

from chainops.store.exchange.files import FORMS, ImportReport, export_as, import_traces

__all__ = ["FORMS", "ImportReport", "export_as", "import_traces"]
