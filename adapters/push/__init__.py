"""Ways for a push to leave: Firebase Cloud Messaging, or a log line for development."""
