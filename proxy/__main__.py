"""`python -m proxy` is the `playgate` command."""

import signal
import sys

if "serve" in sys.argv[1:2]:
    # Ignore SIGHUP until the edge runs: the imports below take a while, and there are no settings
    # to reload yet. Use a handler, because child processes would inherit SIG_IGN.
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)

from proxy.cli import main  # after the signal handler is set

if __name__ == "__main__":
    main()
