"""`python -m proxy` is the `playgate` command."""

from proxy.cli import main

if __name__ == "__main__":
    main()
