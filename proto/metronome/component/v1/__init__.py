"""Version 1 of the component contract, and its generated stubs (`make stubs`)."""
