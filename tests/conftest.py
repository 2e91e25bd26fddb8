"""For all tests of whole processes."""

import signal


def pytest_configure(config):
    # Started in the background or under nohup, this process ignores signals, and so would the commands it runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
