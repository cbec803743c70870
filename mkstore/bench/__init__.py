"""`mkstore bench`: compares this store with other stores, and with the limits of the machine, in one run.

The contenders run at the same time, each on its own nats-server and PostgreSQL with the same settings, and take turns
under load. What is reported are ratios of figures of the same round.
"""
