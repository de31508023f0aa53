"""Those whom enchannel is measured beside; each imported only in the process that measures it."""
