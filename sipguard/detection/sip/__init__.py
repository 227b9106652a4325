"""SIP as the servers see it: packets in, attempts out, with proof of the address. No I/O."""
