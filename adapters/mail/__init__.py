"""Ways for a mail to leave: Resend, or a file for development."""
