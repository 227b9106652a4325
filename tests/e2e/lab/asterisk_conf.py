"""The configuration of the lab's Asterisk: one extension, one AMI user, three logs."""

EXTENSION, PASSWORD = "1000", "correct-horse-battery"

# Each registration of the lab's phone comes from a new port, and lasts a minute: the oldest must make room (remove_existing), or
# the sixth within a minute is answered 403.
_PJSIP = f"""\
[transport-udp]
type=transport
protocol=udp
bind=0.0.0.0:5060
[{EXTENSION}]
type=endpoint
context=default
disallow=all
allow=ulaw
auth={EXTENSION}
aors={EXTENSION}
[{EXTENSION}]
type=auth
auth_type=userpass
username={EXTENSION}
password={PASSWORD}
[{EXTENSION}]
type=aor
max_contacts=5
remove_existing=yes
"""
FILES = {
    "pjsip.conf": _PJSIP,
    "logger.conf": (
        "[general]\ndateformat=%F %T\n"
        "[logfiles]\n"
        "full => notice,warning,error,security,verbose(3)\n"
        "security => security\n"
        "messages => notice,warning,error\n"
    ),
    "extensions.conf": f"[default]\nexten => {EXTENSION},1,Dial(PJSIP/{EXTENSION})\n",
    "manager.conf": f"[general]\nenabled=yes\nbindaddr=0.0.0.0\n[operator]\nsecret={PASSWORD}\nread=system\n",
    # chan_sip, where the suite has it, must not fight PJSIP for port 5060
    "sip.conf": f"[general]\nbindport=5062\n[2000]\ntype=friend\nhost=dynamic\nsecret={PASSWORD}\n",
}
