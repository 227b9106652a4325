"""What else happens on a ban: Fail2ban's action files, mail, web requests, programs. Never in the way of the ban itself."""
