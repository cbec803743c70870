"""What `mkstore new` writes: the templates, and the plan of all changes, which is complete before the first write."""
