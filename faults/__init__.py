"""Does to the running product, under load, what happens to products; then looks for what was lost. `make faults`."""
