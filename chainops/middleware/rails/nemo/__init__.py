"""NVIDIA NeMo Guardrails behind one adapter: the rails of a ``config.yml`` folder, dialog included."""

from chainops.middleware.rails.nemo.dialog import Dialog
from chainops.middleware.rails.nemo.folder import nemo_rails

__all__ = ["Dialog", "nemo_rails"]
