"""Ask a policy: the terminal session, the answers it prints, and the judge's word on one of them."""
