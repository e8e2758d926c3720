"""Entry point of `python -m proxy` and `sstream-proxy`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the program is still being read ends it as it ends others: without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from proxy.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
