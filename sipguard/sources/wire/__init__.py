"""Turns the bytes of IP packets into SIP messages, over UDP, TCP and WebSocket; joins fragments. Does no I/O."""
