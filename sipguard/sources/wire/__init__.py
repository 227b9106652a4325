"""From the bytes of IP packets to SIP messages: fragments, UDP, TCP, WebSocket. No I/O."""
