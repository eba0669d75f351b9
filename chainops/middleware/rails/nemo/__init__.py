"""NVIDIA NeMo Guardrails behind one adapter: the input, output and retrieval rails of a ``config.yml`` folder."""

from chainops.middleware.rails.nemo.folder import nemo_rails

__all__ = ["nemo_rails"]
