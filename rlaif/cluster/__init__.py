"""Model work spread over the processes of a Ray cluster; this process stays the only one that writes."""
