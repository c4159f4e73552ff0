"""The server as a process: started and ended from outside, its workers, its port, its settings."""
