"""A server that tells events as FreeSWITCH and Asterisk do: of the test's, on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time


class EventServer:
    """Speaks the event socket or the manager interface to whoever connects. `received` is all that clients have sent."""

    def __init__(self, kind="freeswitch", password="a-secret-word"):
        self.kind, self.password = kind, password
        self.received = b""
        self.may_read = True
        """Whether Asterisk's user has `read = security`."""
        self.clients = []
        """Who listens to the events."""
        self._joining = threading.Lock()
        """Who has been told that he listens does, for whoever tells an event next."""
        self._open = []
        self._listener = self._acceptor = None
        self.port = 0

    @property
    def url(self):
        user = "" if self.kind == "freeswitch" else "sipguard@"
        return f"{self.kind}://{user}127.0.0.1:{self.port}"

    def start(self):
        """Listen, at the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()
        return self

    def stop(self):
        """As a server that is killed."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()  # whom it lets in at the last moment is let go too
            self._listener.close()
        for client in self._open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        self.clients.clear()
        self._open.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        freeswitch = self.kind == "freeswitch"
        with contextlib.suppress(OSError):
            client.sendall(b"Content-Type: auth/request\n\n" if freeswitch else b"Asterisk Call Manager/8.0.2\r\n")
            end, held = (b"\n\n" if freeswitch else b"\r\n\r\n"), b""
            while data := client.recv(4096):
                self.received += data
                held += data
                while end in held:
                    command, held = held.split(end, 1)
                    self._answer(client, command.decode())

    def _answer(self, client, command):
        if command.startswith("auth "):
            good = command == f"auth {self.password}"
            client.sendall(b"Content-Type: command/reply\nReply-Text: %s\n\n" % (b"+OK" if good else b"-ERR invalid"))
        elif command.startswith("event "):
            with self._joining:
                client.sendall(b"Content-Type: command/reply\nReply-Text: +OK event listener enabled json\n\n")
                self.clients.append(client)
        elif command.startswith("Action: Login"):
            good = f"Secret: {self.password}\r\n" in command + "\r\n"
            with self._joining:
                client.sendall(b"Response: %s\r\nMessage: x\r\n\r\n" % (b"Success" if good else b"Error"))
                if good and self.may_read:
                    client.sendall(self._own_login())
                    self.clients.append(client)

    @staticmethod
    def _own_login():
        """Asterisk tells of each login to its manager interface, also to the one who has logged in."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
        lines = [
            "Event: SuccessfulAuth", "Privilege: security,all", f"EventTV: {moment}", "Severity: Informational",
            "Service: AMI", "EventVersion: 1", "AccountID: sipguard", "SessionID: 0x7f728c001ae0",
            "LocalAddress: IPV4/TCP/0.0.0.0/5038", "RemoteAddress: IPV4/TCP/127.0.0.1/33608", "UsingPassword: 0",
            f"SessionTV: {moment}",
        ]  # fmt: skip
        return "\r\n".join([*lines, "", ""]).encode()

    def tell(self, *addresses, user="1000", name="register_failure"):
        """One event for each address; gives how many were told. The server may be killed in the midst, by another thread."""
        told = 0
        for address in addresses:
            with self._joining:
                clients = list(self.clients)
            for client in clients:
                try:
                    client.sendall(self._event(address, user, name))
                    told += 1
                except OSError:  # it is dead
                    with contextlib.suppress(ValueError):  # `stop` has let go of all
                        self.clients.remove(client)
        return told

    def _event(self, address, user, name):
        if self.kind == "freeswitch":
            fields = {
                "Event-Subclass": f"sofia::{name}", "Event-Date-Timestamp": str(int(time.time() * 1e6)),
                "network-ip": address, "network-port": "5060", "to-user": user, "username": user,
                "registration-type": "REGISTER",
            }  # fmt: skip
            body = json.dumps(fields).encode()
            return b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
        lines = [
            "Event: ChallengeResponseFailed", "Privilege: security,all", f"EventTV: {moment}", "Severity: Error",
            "Service: PJSIP", "EventVersion: 1", f"AccountID: {user}", f"SessionID: c{time.time_ns()}",
            "LocalAddress: IPV4/UDP/198.51.100.1/5060", f"RemoteAddress: IPV4/UDP/{address}/5060",
            f"Challenge: {time.time_ns()}", "Response: b", "ExpectedResponse: ",
        ]  # fmt: skip
        return "\r\n".join([*lines, "", ""]).encode()
