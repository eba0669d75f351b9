"""Personal data from settings: the layer, and the mask that keeps it out of the trace."""

from __future__ import annotations

from chainops.errors import SetupError
from chainops.middleware.pii import Detector, Pii
from chainops.middleware.pii.presidio import Presidio
from chainops.settings import Settings

__all__ = ["build"]


def build(settings: Settings) -> Pii:
    """The layer for ``[pii]``."""
    found = settings.pii
    options = found.model_dump(exclude={"vault", "key", "persist", "names_model", "language", "detectors"})
    detectors: list[Detector] = []
    if found.names_model is not None:
        detectors.append(Presidio.from_folder(found.names_model, language=found.language))
    if found.detectors:
        from chainops.app.plugins import detector_of

        detectors += [detector_of(settings, name) for name in found.detectors]
    options["detectors"] = detectors
    if not found.persist:
        return Pii(**options)
    if found.key is None:
        raise SetupError(
            "The layer pii keeps values in an encrypted file, and there is no key",
            hint='export CHAINOPS_PII__KEY="$(chainops pii key)", and keep it; or set [pii].persist = false.',
            code="setup.pii_key",
        )
    return Pii(found.vault, key=found.key.get_secret_value(), **options)
