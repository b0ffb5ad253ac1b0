"""The rules of the product: one class per noun, one method per use case, called by every door."""
