"""``enchannel run`` with a notebook. Imported only when a notebook is run: it needs an extra."""
