"""Values of the protocol: messages, channel names, sessions, connection info, link events."""
