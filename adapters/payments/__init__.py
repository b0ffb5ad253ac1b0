"""Payment providers: one module each."""
