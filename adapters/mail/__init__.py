"""Delivery of e-mails: Resend, or files for development."""
