"""Recorded packets: pcap and pcapng files."""
