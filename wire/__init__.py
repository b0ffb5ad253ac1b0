"""Types of what is sent and answered, generated from both specs; they exist for the type checker alone."""
