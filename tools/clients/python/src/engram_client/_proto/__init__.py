"""The contract's messages, made by generate.py from /proto."""
