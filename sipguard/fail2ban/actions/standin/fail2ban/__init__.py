"""The part of Fail2ban's Python interface that actions in action.d/*.py use, for hosts where Fail2ban is not installed.

Written from its documentation (jail.conf(5) and the developers' guide); the names are Fail2ban's. It is put last on the
path of the process that runs such an action (`sipguard/fail2ban/actions/python_runner.py`), so that a real one is found first.
"""
