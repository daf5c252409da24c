"""`python -m proxy` is the `playgate` command."""

import signal
import sys

if "serve" in sys.argv[1:2]:
    # There is nothing to load again yet, and the imports below take a while. A handler, and not
    # SIG_IGN, which children would inherit.
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)

from proxy.cli import main  # the signal first

if __name__ == "__main__":
    main()
