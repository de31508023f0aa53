"""The peers that enchannel is compared with; each is imported only in the process that measures it."""
