"""``python -m chainops``."""

import sys

from chainops import __version__

if sys.argv[1:] == ["--version"]:  # scripts and health checks ask often: without loading the command line
    sys.stdout.write(f"chainops {__version__}\n")
else:
    from chainops.cli import main

    main()
