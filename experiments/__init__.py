"""Published tables and figures made anew, one file each."""
