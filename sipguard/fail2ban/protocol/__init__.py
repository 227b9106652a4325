"""What travels over Fail2ban's socket: pickles of plain data, read and written without building anything else."""
