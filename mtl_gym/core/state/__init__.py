"""States of environments and agents: files, copies, forks and pickles."""
