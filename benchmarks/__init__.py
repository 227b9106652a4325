"""Side by side with Fail2ban."""
