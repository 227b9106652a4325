"""Who asks a daemon whose queue is full waits for a place in it."""

import contextlib
import json
import socket
import threading
import time

from sipguard.cli.client import ask


def test_a_full_queue_is_waited_for(tmp_path):
    """unix(7) says EAGAIN at once; a second later there is room, and an answer."""
    path = tmp_path / "sock"
    held = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(path))
            held.append(client)

        def serve():
            time.sleep(0.5)
            for client in held:
                client.close()
            answered = False
            while not answered:
                connection, _ = listener.accept()
                with connection:
                    if connection.recv(100):
                        connection.sendall(json.dumps({"ok": True, "result": 5}).encode())
                        answered = True

        server = threading.Thread(target=serve)
        server.start()
        assert ask(path, "ping") == 5
        server.join()
