"""A long run of mixed traffic that looks for leaks: memory, open files and connections of each process."""
