"""Jobs: accepted over ARM, kept in SQLite, run as processes of this machine."""
