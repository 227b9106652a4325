"""What must not end the daemon: a signal that nobody meant, a reader of its output that goes away."""

import signal
import time

from limits import PATIENCE

from tests.running import RunningDaemon


def _daemon(folder):
    log = folder / "asterisk.log"
    log.touch()
    # Empty is as if not set: with it Python's output has no buffer that could fail at the exit.
    return RunningDaemon(
        folder, {"asterisk": {"logpath": str(log), "filter": "asterisk"}}, env={"PYTHONUNBUFFERED": ""}
    )


def test_signals_do_not_end_it(tmp_path):
    """It answers after each of them."""
    daemon = _daemon(tmp_path).start()
    try:
        for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGHUP", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"):
            daemon.process.send_signal(getattr(signal, name))
            time.sleep(0.1)
            assert daemon.process.poll() is None, name
        assert daemon.answers()
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


def test_reader_of_output_goes_away(tmp_path):
    """It goes on banning, and its exit status is 0."""
    daemon = _daemon(tmp_path)
    text = daemon.config.read_text().replace(str(daemon.log), "STDOUT")
    daemon.config.write_text(text)
    daemon.start()
    try:
        daemon.process.stdout.close()
        daemon.sipguard("ban", "198.51.100.9", "--jail", "asterisk")
        assert daemon.banned("asterisk") == {"198.51.100.9"}
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(PATIENCE) == 0
    finally:
        daemon.process.kill()
        daemon.process.wait()
