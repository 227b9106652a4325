"""This machine's own packets, as the kernel copies them to NFLOG groups (linux/netfilter/nfnetlink_log.h)."""
