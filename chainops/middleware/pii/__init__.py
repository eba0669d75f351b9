"""Personal data and secrets: found, kept out of models and stores, and given back where they leave."""

from chainops.middleware.pii.finding import Detector, Finding, resolve
from chainops.middleware.pii.middleware import Pii
from chainops.middleware.pii.scanner import KINDS, PatternDetector, Scanner
from chainops.middleware.pii.scrub import Scrubber

__all__ = ["KINDS", "Detector", "Finding", "PatternDetector", "Pii", "Scanner", "Scrubber", "resolve"]
