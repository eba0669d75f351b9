"""The trace file: one SQLite database that holds runs, spans, scores, artifacts and labels.

Import what you need from the modules: ``writer`` (the only part that writes spans), ``reader``, ``search``,
``retention``, ``export_jsonl``, ``export_otlp``, ``maintain``, ``migrate``; ``tables`` has the SQLModel classes.
"""
