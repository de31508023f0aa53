"""The kernel: connection, requests, channels, comms and subshells."""
