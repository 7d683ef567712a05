"""The model server as a process: `plms model serve`."""
