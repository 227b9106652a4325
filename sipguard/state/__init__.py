"""What must survive a crash: bans, attempts and positions, in SQLite."""
