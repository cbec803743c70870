"""AsyncAPI documents: generated from a service's code (`specification`), and read (`reader`)."""
