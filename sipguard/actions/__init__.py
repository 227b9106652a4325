"""Further actions on a ban: Fail2ban's action files, mail, web requests, programs. They never delay the ban itself."""
