"""The command line. It uses the public API only, as any other program does."""
