"""What works here and what does not, with the way to mend it: for ``chainops doctor``."""

from chainops.app.doctor.finding import Finding, State
from chainops.app.doctor.run import examine

__all__ = ["Finding", "State", "examine"]
